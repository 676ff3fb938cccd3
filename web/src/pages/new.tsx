/** What has no form of its own is made from a text: policies, power policies, sites. */
import { Empty } from "../../ui/states.tsx";
import { toast } from "../../ui/toasts.tsx";
import type { PageProps } from "../app.tsx";
import { apiVersionOf, type Plural, type Resource } from "../data/kinds.ts";
import { useRights } from "../data/rights.ts";
import { scope } from "../data/scope.ts";
import { Link, navigate } from "../router.tsx";
import { NewObject } from "../yaml/object.tsx";

interface Beginning {
  plural: Plural;
  kind: string;
  title: string;
  about: string;
  /** From "metadata:" on. */
  text: string;
  page: (made: Resource) => string;
}

const BEGINNINGS: readonly Beginning[] = [
  {
    plural: "policies",
    kind: "Policy",
    title: "New policy",
    about: "Where machines should run: what hosts are liked for, and the rules that a host has to keep.",
    text: `metadata:
  name: new-policy
  namespace: ${scope || "default"}
spec:
  selector:
    matchLabels:
      tier: web
  goals:
    - goal: performance
  required:
    - host.cpu.cores >= 2
  automation: ask
`,
    page: ({ metadata }) => `/director/policies/${metadata.namespace}/${metadata.name}`,
  },
  {
    plural: "powerpolicies",
    kind: "PowerPolicy",
    title: "New power policy",
    about: "Which hosts are switched off while they are not needed, and on again before they are.",
    text: `metadata:
  name: night
spec:
  selector: {}
  automation: advise
  spareHosts: 1
`,
    page: ({ metadata }) => `/director/powerpolicies/${metadata.name}`,
  },
  {
    plural: "sites",
    kind: "Site",
    title: "New site",
    about: "What power costs and emits at a site; its name is what hosts have in spec.site.",
    text: `metadata:
  name: north
spec:
  timeZone: UTC
  pricePerKWh: [0.3]
  carbonPerKWh: [200]
`,
    page: ({ metadata }) => `/director/sites/${metadata.name}`,
  },
];

export default function New({ parts: [plural = ""] }: PageProps) {
  const beginning = BEGINNINGS.find((one) => one.plural === plural);
  const can = useRights(plural === "policies" ? scope || "default" : undefined);
  if (!beginning)
    return (
      <Empty isPage title="Nothing of this kind is made here">
        <p>
          <Link href="/director">Director</Link>
        </p>
      </Empty>
    );
  const { kind, title, about, text, page } = beginning;
  const apiVersion = apiVersionOf(beginning.plural);
  return (
    <>
      <div className="page-head">
        <h1>{title}</h1>
      </div>
      <p className="muted lead">{about}</p>
      <NewObject
        plural={beginning.plural}
        kind={kind}
        apiVersion={apiVersion}
        begin={`apiVersion: ${apiVersion}\nkind: ${kind}\n${text}`}
        can={can}
        onMade={(made) => {
          toast("ok", `${made.metadata.name} is made`);
          navigate(page(made));
        }}
      />
    </>
  );
}
