/** Everything that has a page by its name, from the keyboard, and what can be done. What the user's roles do not show is not found. */
import { type KeyboardEvent, useId, useMemo, useState } from "react";
import { Dialog, Modal, ModalOverlay } from "react-aria-components";
import { Icon, type IconName } from "../ui/icons.tsx";
import { hostState, phaseOf } from "./data/derive.ts";
import { keyOf } from "./data/kinds.ts";
import { useBrief, useLive } from "./data/live.ts";
import { machinePath } from "./pages/machines.tsx";
import { navigate } from "./router.tsx";
import { SECTIONS } from "./sections.ts";
import { signOut } from "./session.tsx";
import { toggleTheme } from "./theme.ts";

interface Entry {
  id: string;
  icon: IconName;
  text: string;
  more: string;
  go: () => void;
}

const MOST = 60;

export default function Palette({ onClose }: { onClose: () => void }) {
  const machines = useBrief("virtualmachines");
  const hosts = useBrief("hosts");
  const images = useBrief("images");
  const policies = useLive("policies");
  const powerPolicies = useLive("powerpolicies");
  const sites = useLive("sites");
  const plans = useBrief("plans");
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const list = useId();
  const entries = useMemo((): Entry[] => {
    const page = (id: string, icon: IconName, name: string, more: string, path: string) => ({
      id,
      icon,
      text: name,
      more,
      go: () => navigate(path),
    });
    return [
      ...SECTIONS.map(({ path, name, icon, key }) => page(path, icon, name, `page, g ${key}`, path)),
      page("new", "add", "New machine", "c", "/machines/new"),
      { id: "theme", icon: "theme", text: "Light or dark", more: "", go: toggleTheme },
      { id: "out", icon: "out", text: "Sign out", more: "", go: () => void signOut() },
      ...machines.list.map((vm) =>
        page(
          `vm ${keyOf(vm)}`,
          "machines",
          vm.metadata.name,
          `${vm.metadata.namespace}, ${phaseOf(vm)}${vm.status?.host ? ` on ${vm.status.host}` : ""}`,
          machinePath(vm),
        ),
      ),
      ...hosts.list.map((host) =>
        page(
          `host ${host.metadata.name}`,
          "hosts",
          host.metadata.name,
          `host, ${hostState(host)}`,
          `/hosts/${host.metadata.name}`,
        ),
      ),
      ...images.list.map(({ metadata: { name }, status }) =>
        page(`image ${name}`, "images", name, `image, ${status?.phase ?? "Pending"}`, `/images/${name}`),
      ),
      ...policies.list.map(({ metadata: { name, namespace } }) =>
        page(
          `policy ${namespace}/${name}`,
          "director",
          name,
          `policy in ${namespace}`,
          `/director/policies/${namespace}/${name}`,
        ),
      ),
      ...powerPolicies.list.map(({ metadata: { name } }) =>
        page(`power ${name}`, "director", name, "power policy", `/director/powerpolicies/${name}`),
      ),
      ...sites.list.map(({ metadata: { name } }) =>
        page(`site ${name}`, "director", name, "site", `/director/sites/${name}`),
      ),
      ...plans.list.map(({ metadata: { name }, spec, status }) =>
        page(
          `plan ${name}`,
          "director",
          name,
          `plan, ${status?.phase ?? "Pending"}: ${spec.trigger}`,
          `/director/plans/${name}`,
        ),
      ),
    ];
  }, [machines.list, hosts.list, images.list, policies.list, powerPolicies.list, sites.list, plans.list]);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = entries
    .filter((entry) => words.every((word) => `${entry.text} ${entry.more}`.toLowerCase().includes(word)))
    .sort(
      (a, b) =>
        Number(b.text.toLowerCase().startsWith(words[0] ?? "")) -
        Number(a.text.toLowerCase().startsWith(words[0] ?? "")),
    )
    .slice(0, MOST);
  const chosen = found[Math.min(at, found.length - 1)];
  const go = (entry: Entry | undefined) => {
    if (!entry) return;
    onClose();
    entry.go();
  };
  const keys = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step) setAt((from) => Math.max(0, Math.min(found.length - 1, from + step)));
    else if (event.key === "Enter") go(chosen);
    else return;
    event.preventDefault();
  };
  return (
    <ModalOverlay className="veil" isOpen isDismissable onOpenChange={(isOpen) => !isOpen && onClose()}>
      <Modal className="dialog palette">
        <Dialog aria-label="Search">
          <input
            autoFocus
            role="combobox"
            aria-label="Search for machines, hosts, images, policies, plans, sites and pages"
            aria-expanded="true"
            aria-controls={list}
            aria-activedescendant={chosen ? `${list}-${found.indexOf(chosen)}` : undefined}
            placeholder="Machine, host, image, policy, plan, site, page"
            value={text}
            onChange={(event) => {
              setText(event.target.value);
              setAt(0);
            }}
            onKeyDown={keys}
          />
          {/* biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: the options of the combobox above */}
          <ul id={list} role="listbox" aria-label="Found">
            {found.map((entry, i) => (
              // biome-ignore lint/a11y/useKeyWithClickEvents: the combobox has the keys
              // biome-ignore lint/a11y/useFocusableInteractive: the focus stays in the combobox
              <li
                key={entry.id}
                id={`${list}-${i}`}
                // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: an option of the combobox
                role="option"
                aria-selected={entry === chosen}
                onClick={() => go(entry)}
              >
                <Icon name={entry.icon} /> {entry.text} <span className="muted small">{entry.more}</span>
              </li>
            ))}
          </ul>
          {found.length === 0 && <p className="state">Nothing is called so.</p>}
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}
