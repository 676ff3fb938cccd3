/** What the director's pages are for: policies and what else it goes by, its plans, and what came of them. */
import { expect, it } from "vitest";
import { VirtualMachine } from "../../src/compute/kinds.ts";
import { Policy } from "../../src/director/kinds.ts";
import { Plan } from "../../src/director/planning/kinds.ts";
import { Site } from "../../src/director/sites.ts";
import { PowerPolicy } from "../../src/power/policies/kinds.ts";
import { until } from "../../test/support/stack.ts";
import { type Page, violations } from "./browser.ts";
import { connectionsOf, counted, linesOnScreen } from "./consoles.ts";
import type { Ui } from "./site.ts";

/** What a user pastes into the editor, in place of all that is in it. */
async function write(page: Page, text: string): Promise<void> {
  const yaml = page.getByRole("textbox", { name: "The object as YAML" });
  await yaml.click();
  await page.keyboard.press("Control+a");
  await page.evaluate(`(() => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", ${JSON.stringify(text)});
    const paste = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
    document.querySelector(".cm-content").dispatchEvent(paste);
  })()`);
}

/** @param at the machine that its policy may move: small, on frugal-1, alone */
export function director(ui: () => Ui, at: { name: string; namespace: string }): void {
  const machine = `/machines/${at.namespace}/${at.name}`;
  const hostOf = async () => (await ui().stack.client.get(VirtualMachine, at))?.status?.host;
  const planNamed = async (name: string) => ui().stack.client.get(Plan, { name });
  /** Of the plan whose page is open. */
  const nameOfPlan = (page: Page) => new URL(page.url()).pathname.split("/").at(-1) ?? "";
  const openProposal = async (page: Page) => {
    await page.goto("/director");
    const proposal = page.getByText("Proposed, waits for you");
    await proposal.waitFor({ timeout: 60_000 });
    expect(await violations(page)).toEqual([]);
    await proposal.getByRole("link").click();
    await page.getByRole("button", { name: "Approve all" }).waitFor();
  };

  it("helps to write a policy, and shows what is wrong where", async () => {
    const { page, stack } = ui();
    await page.goto("/director");
    await page.getByRole("button", { name: "New policy" }).click();
    const yaml = page.getByRole("textbox", { name: "The object as YAML" });
    const text = (await yaml.innerText()).replace("tier: web", "tier: none").replace("ask", "off");
    await write(page, text.replace("host.cpu.cores", "host.cpu.cors"));
    await page.getByText('host.cpu has no "cors"; did you mean "cores"?').waitFor();
    expect(await page.locator(".cm-lintRange-error").textContent()).toBe("cors");
    expect(await violations(page)).toEqual([]);
    await write(page, `${text.trimEnd()}\n  `);
    await page.keyboard.type("keepA");
    await page.getByRole("option", { name: /keepApart/ }).click();
    await page.keyboard.type("ra");
    await page.getByRole("option", { name: "rack" }).click();
    await page.getByText("would take new-policy as it is").waitFor();
    await page.getByRole("button", { name: "Make it" }).click();
    await page.getByRole("heading", { name: /new-policy/ }).waitFor();
    await page.getByText("no two in one rack").waitFor();
    expect(
      (await stack.client.get(Policy, { name: "new-policy", namespace: "default" }))?.spec.keepApart,
    ).toBe("rack");
    await page.getByRole("button", { name: "Delete…" }).click();
    await page.getByLabel(/Type new-policy/).fill("new-policy");
    await page.getByRole("button", { name: "Delete it" }).click();
    await page.waitForURL("**/director");
  });

  it("tells of a machine what its policy contributes, and of the other host how much worse it is, or all that rules it out", async () => {
    const { page } = ui();
    await page.goto(machine);
    await page.getByText("What each policy contributes on frugal-1").click();
    await page.getByText(/^web: \d\.\d\d of the score$/).waitFor();
    await page.getByText(/^goals: .*watts \d\.\d\d × 0\.95 = /).waitFor();
    const other = page.locator(".verdicts > li", { has: page.getByRole("link", { name: "fast-1" }) });
    await other.getByText(/less than on frugal-1, by policy "web": watts -|ruled out/).waitFor();
    expect(await violations(page)).toEqual([]);
  });

  it("makes a power policy and a site, as they are suggested", async () => {
    const { page, stack } = ui();
    for (const [button, name, facts] of [
      ["New power policy", "night", "Has the say over"],
      ["New site", "north", "Price of a kWh"],
    ] as const) {
      await page.goto("/director");
      await page.getByRole("button", { name: button }).click();
      await page.getByText(`would take ${name} as it is`).waitFor();
      await page.getByRole("button", { name: "Make it" }).click();
      await page.getByRole("heading", { name, exact: true }).waitFor();
      await page.getByText(facts).waitFor();
    }
    // Its hosts, and what power costs there now.
    await page.getByText(/^2 hosts.*0\.3 per kWh, 200 g CO2/).waitFor();
    expect((await stack.client.get(PowerPolicy, { name: "night" }))?.spec.automation).toBe("advise");
    expect((await stack.client.get(Site, { name: "north" }))?.spec.pricePerKWh).toEqual([0.3]);
  });

  it("changes a policy, and puts away what the director proposes then", async () => {
    const { page, stack } = ui();
    await page.goto(`/director/policies/${at.namespace}/web`);
    await page.getByRole("button", { name: "Edit" }).click();
    const yaml = page.getByRole("textbox", { name: "The object as YAML" });
    const text = await yaml.innerText();
    await write(page, text.replace("goal: energy", "goal: fastest"));
    await page
      .getByText(/supported values|must be one of|Unsupported/i)
      .first()
      .waitFor();
    expect(await page.locator(".cm-lintRange-error").textContent()).toBe("fastest");
    await write(
      page,
      text.replace("goal: energy", "goal: performance").replace("automation: act", "automation: ask"),
    );
    await page.getByText(/spec\.goals: .*energy.* → .*performance/).waitFor();
    await page.getByRole("button", { name: "Save" }).click();
    // Left sooner, the page would take its request along.
    await until("the policy to be saved", 10_000, async () =>
      (await stack.client.get(Policy, { name: "web", namespace: at.namespace }))?.spec.automation === "ask"
        ? true
        : undefined,
    );
    expect(await hostOf()).toBe("frugal-1");
    await openProposal(page);
    const rejected = nameOfPlan(page);
    await page.getByRole("button", { name: "Reject" }).click();
    await page.getByText("Its machines stay where they are for a day").waitFor();
    expect(await violations(page)).toEqual([]);
    await page.getByRole("button", { name: "Put it away" }).click();
    await page.waitForURL("**/director");
    await page.getByRole("row", { name: new RegExp(`Rejected.*${rejected}.*0 of 1`) }).waitFor();
    expect((await planNamed(rejected))?.status).toMatchObject({ phase: "Rejected" });
    expect(await hostOf()).toBe("frugal-1");
  });

  // Before there is another machine: then the move is worth it.
  it("stops a plan that waits for the end of quiet hours, and says before what that does", async () => {
    const { page, stack } = ui();
    // It is another policy now, of which nothing was rejected; quiet at any hour.
    const quiet = [{ hours: "00:00-12:00" }, { hours: "12:00-00:00" }];
    await stack.client.patch(
      Policy,
      { name: "web", namespace: at.namespace },
      { spec: { goals: [{ goal: "performance", weight: 3 }], moves: { quiet } } },
    );
    await openProposal(page);
    const stopped = nameOfPlan(page);
    await page.getByRole("button", { name: "Approve all" }).click();
    await page.getByRole("heading", { name: /plan-.*Held/ }).waitFor({ timeout: 30_000 });
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    await page.getByRole("dialog", { name: `Stop ${stopped}` }).waitFor();
    for (const told of ["No further move of it begins", "Its machines stay where they are for a day"])
      await page.getByText(told).waitFor();
    expect(await violations(page)).toEqual([]);
    await page.getByRole("button", { name: "Stop it" }).click();
    await page.getByRole("heading", { name: /plan-.*Rejected/ }).waitFor({ timeout: 30_000 });
    await page.getByText("a user stopped the plan").waitFor();
    expect(await hostOf()).toBe("frugal-1");
  });

  it("approves a plan, and the machine moves with its screen and its serial port open", async () => {
    const { page, visitor, stack } = ui();
    const [screen, serial] = [await visitor.context.newPage(), await visitor.context.newPage()];
    const said: string[] = [];
    for (const [console, path] of [
      [screen, "screen"],
      [serial, "serial"],
    ] as const) {
      console.on("console", (message) => said.push(message.text()));
      await console.goto(`${machine}/${path}`);
      await console.getByText("Connected", { exact: true }).waitFor();
    }
    await until("what the guest counts", 20_000, async () => (await counted(serial)) || undefined);
    // Another policy again.
    const goals = [{ goal: "performance" as const, weight: 2 }];
    await stack.client.patch(
      Policy,
      { name: "web", namespace: at.namespace },
      { spec: { goals, moves: null } },
    );
    await openProposal(page);
    // Before and after: one host is emptied, the other taken into use.
    await page.getByRole("row", { name: /frugal-1.*emptied.*1 → 0/ }).waitFor();
    await page.getByRole("row", { name: /fast-1.*taken into use.*0 → 1/ }).waitFor();
    await page.getByText("hosts in use").waitFor();
    expect(await violations(page)).toEqual([]);
    await page.getByRole("button", { name: "Approve all" }).click();
    await page.getByRole("heading", { name: /plan-.*Succeeded/ }).waitFor({ timeout: 90_000 });
    expect(await hostOf()).toBe("fast-1");
    // Both go on over the connection that they had.
    const before = await counted(serial);
    await until(
      "the guest to count on",
      20_000,
      async () => (await counted(serial)) > before || undefined,
      () => said.join("\n"),
    );
    for (const console of [screen, serial]) {
      await console.getByText("Connected", { exact: true }).waitFor();
      expect(await connectionsOf(console), said.join("\n")).toBe("1");
    }
    expect(await linesOnScreen(screen)).toBeGreaterThan(0);
    for (const console of [screen, serial]) await console.close();
  });

  it("tells what came of a plan beside what was predicted, and takes its moves back", async () => {
    const { page } = ui();
    // The plan of the move is still open.
    const made = nameOfPlan(page);
    const effects = page.getByRole("table").filter({ hasText: "stands still" });
    for (const told of ["predicted", "actual"])
      await effects.getByRole("row", { name: new RegExp(`^${told} [\\d.]+ s .*iB`) }).waitFor();
    await page.goto("/director");
    const row = page.getByRole("row", { name: new RegExp(made) });
    await row.waitFor();
    // Its columns of figures: what was predicted, and what came of it.
    for (const cell of [4, 5])
      expect(await row.getByRole("cell").nth(cell).textContent()).toMatch(/[\d.]+ s, .*sent/);
    await row.getByRole("link", { name: made }).click();
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByRole("dialog", { name: `Undo ${made}` }).waitFor();
    expect(await violations(page)).toEqual([]);
    await page.getByRole("button", { name: "Take the moves back" }).click();
    await page.getByRole("heading", { name: /undo-.*Succeeded/ }).waitFor({ timeout: 90_000 });
    await page.getByText(`a user asked to undo ${made}`).waitFor();
    expect(await hostOf()).toBe("frugal-1");
    expect((await planNamed(nameOfPlan(page)))?.spec.undoes).toBe(made);
  });
}
