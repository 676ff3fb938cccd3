/**
 * What the director would say, asked of the server, so that nobody who asks has to read the whole estate:
 *
 *   GET  …/virtualmachines/NAME/placement   why the machine is where it is: what each host would be to it now. ?limit=N: so many hosts, the best first (50)
 *   POST …/virtualmachines/NAME/placement   a machine that there is not yet: checked as a dry-run of making it, then where it would go, and why
 *   GET  …/plans/NAME/undo                  the plan that would take it back, and what would stay
 *   GET  …/plans/NAME/preview               what would be planned now, whatever the name: a dry run
 *   GET  …/hosts/NAME/power                 why the host is on or off now, and what is expected of the time for which it would be away
 *
 * All of them tell of hosts and of what is in other namespaces: they take the right to list hosts, too, which no role that is given in one namespace has.
 */
import { forbid } from "../api/authorize.ts";
import { decodeBody, readBody, typeOfBody } from "../api/body.ts";
import { sendValue } from "../api/exchange.ts";
import { notFound } from "../api/not-found.ts";
import { type Call, integer } from "../api/resource-reads.ts";
import type { Subresource } from "../api/subresource.ts";
import type { Client } from "../client/client.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { API_VERSION } from "../resource/kind.ts";
import type { Estate } from "./estate/estate.ts";
import type { UseHistory } from "./estate/history.ts";
import { readHistory } from "./estate/history-keeper.ts";
import { started } from "./estate/moved.ts";
import { inPieces, READ, readEstate, type Seen } from "./estate/read-estate.ts";
import type { Placed, PowerTold, Undoing } from "./planning/answers.ts";
import { experienceOf } from "./planning/experience.ts";
import { type Explanation, explain } from "./planning/explain.ts";
import { predict } from "./planning/figures.ts";
import { Forecaster } from "./planning/forecast.ts";
import { Plan } from "./planning/kinds.ts";
import { place } from "./planning/place.ts";
import { previewOf } from "./planning/preview.ts";
import { planUndo, undoing } from "./planning/undo.ts";
import type { PowerInput } from "./power/input.ts";
import { deciding, explainForecast, type Verdict, whyOf } from "./power/power.ts";
import { forecastOf, readPower } from "./power/power-reconciler.ts";
import { policyFor } from "./power/standing.ts";

const MOST = 5000;
/** How old the estate may be that questions are answered by: several pages may ask, and in a great estate it is some tenths of a second to read. */
const KEPT_MS = 2000;
/** And what was kept of the use of machines: all weeks of all machines, which change by the hour. */
const HISTORY_KEPT_MS = 60_000;

/** For ApiServerOptions.subresources. @param own what the planner of this control plane has seen machines use, while it leads; else what the one that does has kept counts */
export function directorSubresources(
  client: Client,
  clock: Clock,
  own: () => UseHistory | undefined = () => undefined,
): Subresource[] {
  const readKept = keptFor(HISTORY_KEPT_MS, clock, () => readHistory(client, clock));
  const seenNow = async (): Promise<Seen> => ({ clock, history: own() ?? (await readKept()) });
  const readNow = keptFor(KEPT_MS, clock, async () => {
    const { items, resourceVersion } = await client.list(Plan, READ);
    const estate = await readEstate(client, await seenNow());
    return {
      revision: Number(resourceVersion),
      estate,
      forecaster: new Forecaster(experienceOf(items, estate)),
    };
  });
  /** @param revision what was written up to it is in there in any case */
  const estateNow = async (revision = 0) => (await readNow((kept) => kept.revision >= revision)).estate;
  /** Planning is work, too. */
  const previewNow = keptFor(KEPT_MS, clock, async () => {
    const { items, resourceVersion } = await client.list(Plan);
    return previewOf(await estateNow(Number(resourceVersion)), items, clock.now().getTime());
  });
  const powerNow = keptFor(KEPT_MS, clock, async () => {
    const input = await readPower({ client, ...(await seenNow()) });
    const ahead = forecastOf(input.policies, input.now);
    return { input, verdict: await inPieces(deciding({ ...input, ahead })) };
  });
  return [
    answering(Host, "power", "HostPower", async ({ name }) => powerOf(name, await powerNow())),
    {
      ...answering(VirtualMachine, "placement", "Placement", async (call) =>
        call.exchange.request.method === "POST"
          ? ofNew(call, client, await seenNow())
          : of(call, await readNow()),
      ),
      methods: { GET: "get", POST: "get" },
    },
    answering(Plan, "undo", "PlanUndo", ({ name }) => undoingOf(client, name, clock, estateNow)),
    answering(Plan, "preview", "PlanPreview", () => previewNow()),
  ];
}

const answering = (
  of: Subresource["of"],
  name: string,
  answers: string,
  answer: (call: Call) => Promise<object>,
): Subresource => ({
  of,
  name,
  methods: { GET: "get" },
  answers,
  handle: async (call) => {
    needsHosts(call);
    await sendValue(call.exchange, 200, await answer(call));
  },
});

/** @param estateAt the estate, no older than a revision @throws ApiError NotFound */
export async function undoingOf(
  client: Client,
  name: string,
  clock: Clock,
  estateAt: (revision: number) => Promise<Estate>,
): Promise<Undoing> {
  const plans = (await client.list(Plan)).items;
  const plan = plans.find(({ metadata }) => metadata.name === name);
  if (!plan) throw notFound(Plan, name);
  // What the plan has just done would else look as if somebody had taken it elsewhere.
  const estate = await estateAt(Number(plan.metadata.resourceVersion));
  const { moves, kept } = planUndo(estate, plan);
  const now = clock.now().getTime();
  return {
    kind: "PlanUndo",
    apiVersion: API_VERSION,
    ...(moves.length > 0 ? { plan: undoing(plan, predict(estate, moves, plans), now) } : {}),
    kept,
  };
}

/** Reads anew when what was read is older, could not be, or does not do for who asks. */
function keptFor<T>(
  keptMs: number,
  clock: Clock,
  read: () => Promise<T>,
): (does?: (value: T) => boolean) => Promise<T> {
  let kept: { value: Promise<T>; at: number } | undefined;
  return async (does) => {
    const at = clock.now().getTime();
    const last = kept;
    if (last && at - last.at < keptMs) {
      const value = await last.value;
      if (!does || does(value)) return value;
      // Unless another one has begun to read meanwhile.
      if (kept && kept !== last) return kept.value;
    }
    const own = { value: read(), at };
    kept = own;
    own.value.catch(() => {
      if (kept === own) kept = undefined;
    });
    return own.value;
  };
}

/** @throws ApiError Forbidden for who may not see the hosts, whatever he may in his own namespace */
function needsHosts({ exchange: { user }, context: { authorizer } }: Call): void {
  const asked = { verb: "list", group: Host.group, resource: Host.plural, name: "" };
  const decision = authorizer.decide(user, asked);
  if (!decision.allowed) forbid(user, asked, decision.reason);
}

function of(call: Call, { estate, forecaster }: { estate: Estate; forecaster: Forecaster }): Placed {
  const { name, target } = call;
  const found = explain(estate, `${target.namespace}/${name}`, limitOf(call), forecaster);
  if (!found)
    throw new ApiError("NotFound", `the director knows no machine ${target.namespace}/${name} (yet)`, {
      name,
    });
  return told(found);
}

async function ofNew(call: Call, client: Client, seen: Seen): Promise<Placed> {
  const { exchange, context, target, kind, name } = call;
  const { value } = decodeBody(await readBody(exchange.request), typeOfBody(exchange.request));
  if (!isFields(value) || !isFields(value.metadata) || value.metadata.name !== name)
    throw new ApiError("BadRequest", `the body is not a VirtualMachine with metadata.name ${name}`, { name });
  const options = { user: exchange.user, dryRun: true, fieldManager: "placement" };
  const { object } = await context.service.create(kind, target.namespace, value, options);
  // Safe: it has just passed the schema of its kind.
  const vm = object as VirtualMachine;
  const key = `${target.namespace}/${name}`;
  const estate = started(await readEstate(client, seen, [vm]), key);
  const machine = estate.machines.find((view) => view.key === key);
  const found = explain(estate, key, limitOf(call));
  if (!machine || !found) throw new ApiError("Invalid", `the director cannot make sense of ${key}`, { name });
  return { ...told(found), placement: place(estate, machine) };
}

/** @throws ApiError NotFound */
function powerOf(name: string, { input, verdict }: { input: PowerInput; verdict: Verdict }): PowerTold {
  const host = input.hosts.find(({ metadata }) => metadata.name === name);
  if (!host) throw notFound(Host, name);
  const policy = policyFor(input.policies, host);
  return {
    kind: "HostPower",
    apiVersion: API_VERSION,
    host: name,
    why: whyOf(verdict, name),
    ...(policy ? { forecast: explainForecast(policy, host, input.now) } : {}),
  };
}

const limitOf = ({ exchange }: Call): number | undefined => {
  const limit = integer(exchange, "limit");
  return limit === undefined ? undefined : Math.min(limit, MOST);
};

const told = (found: Explanation): Placed => ({ kind: "Placement", apiVersion: API_VERSION, ...found });
