/** `vireo server`: one control plane: store, API server, and, while it leads, the reconcilers. */
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { AuditLog } from "../api/audit.ts";
import { ENROLMENT_TTL_MS, ensureAdminKubeconfig, writeEnrolment } from "../api/kubeconfig.ts";
import { LocalClient } from "../api/local.ts";
import { Operations } from "../api/operations.ts";
import { Pki } from "../api/pki.ts";
import { SECRETS_PREFIX, Secret } from "../api/secrets.ts";
import { startApiServer } from "../api/server.ts";
import { Sessions } from "../api/sessions.ts";
import { StoredVersionError } from "../api/stored-versions.ts";
import { TakenOut } from "../api/taken-out.ts";
import { Tickets } from "../api/tickets.ts";
import { Ui } from "../api/ui.ts";
import { runCloneReconciler } from "../compute/clones/reconciler.ts";
import { runGuestCommandReconciler } from "../compute/guest-commands/reconciler.ts";
import { runHostReconciler } from "../compute/hosts/reconciler.ts";
import { runMigrationReconciler } from "../compute/migrations/reconciler.ts";
import { runQuotaReconciler } from "../compute/quota-reconciler.ts";
import { runSnapshotReconciler } from "../compute/snapshots/reconciler.ts";
import { runVirtualMachineReconciler } from "../compute/vm-reconciler.ts";
import { consoleSubresources } from "../consoles/subresources.ts";
import type { UseHistory } from "../director/estate/history.ts";
import { HistoryKeeper } from "../director/estate/history-keeper.ts";
import { runPlanExecutor } from "../director/execution/executor.ts";
import { runDestinations } from "../director/planning/destinations.ts";
import { runPlanner } from "../director/planning/planner.ts";
import { runScheduler } from "../director/planning/scheduler.ts";
import { runHostPower } from "../director/power/power-reconciler.ts";
import { wakeTestsOf } from "../director/power/wake-tests.ts";
import { directorSubresources } from "../director/subresources.ts";
import { removeEarlierLogs } from "../images/build-log.ts";
import { runBuildReconciler } from "../images/build-reconciler.ts";
import { distributionSubresources } from "../images/distributions.ts";
import { runImageCollector } from "../images/garbage/collector.ts";
import { runImportReconciler } from "../images/import/reconciler.ts";
import { runImageReconciler } from "../images/reconciler.ts";
import { imageSubresources } from "../images/subresources.ts";
import { signerOf } from "../images/trust/signature.ts";
import { KINDS } from "../kinds.ts";
import { runPowerReconciler } from "../power/reconciler.ts";
import { systemClock } from "../reconcile/clock.ts";
import { announceControlPlane } from "../reconcile/control-planes.ts";
import { EventRecorder, runEventExpiry } from "../reconcile/events.ts";
import { runAsLeader } from "../reconcile/leader.ts";
import { invalidity } from "../resource/invalid.ts";
import { backupLines } from "../store/backup.ts";
import { measuredStore } from "../store/measured.ts";
import { openStore, StoreAddressError } from "../store/open.ts";
import { sealedStore } from "../store/sealed.ts";
import { writableStore } from "../store/writable.ts";
import { bootId } from "../system/boot-id.ts";
import { waitForManyFiles } from "../system/many-files.ts";
import { protectFromOom } from "../system/oom.ts";
import { collectProcessMetrics } from "../telemetry/metrics.ts";
import { startTracing } from "../telemetry/tracing.ts";
import { type OidcFlags, oidcOptions } from "./oidc.ts";
import { ownLogger } from "./own-log.ts";
import { CACHE, type StatePaths } from "./paths.ts";
import { stopSignal } from "./stop-signal.ts";
import { UserError } from "./user-error.ts";
import { version } from "./version.ts";
import { WEB_UI } from "./web-ui.ts";

/**
 * Otherwise V8 collects all garbage whenever 64 MiB of buffers were made, however large the heap is: with an estate of 40,000 machines that took a fifth of the
 * process's time. With it, buffers count as part of the heap, which is collected when it has grown by a share of itself.
 */
const collectBySize = () => setFlagsFromString("--external-memory-accounted-in-global-limit");

/** Runs until SIGTERM, or until the store can go on no more. @throws UserError for a wrong address */
export async function server(
  paths: StatePaths,
  options: { listen: string; store?: string; follow: boolean } & OidcFlags,
): Promise<void> {
  const match = /^(.+):(\d+)$/.exec(options.listen);
  if (!match) throw new UserError(`--listen: ${JSON.stringify(options.listen)} is not HOST:PORT`);
  const [, host = "", port = ""] = match;
  waitForManyFiles();
  collectBySize();
  const oidc = oidcOptions(options);
  const log = ownLogger("control-plane");
  const stopTracing = await startTracing("vireo-control-plane", version());
  const stop = new AbortController();
  const signal = AbortSignal.any([stopSignal(), stop.signal]);
  protectFromOom();
  mkdirSync(paths.state, { recursive: true, mode: 0o755 });
  const pki = await Pki.open(paths.pki);
  const audit = new AuditLog(join(paths.state, "audit"), `${host}-${port}`.replace(/[^\w.-]/g, "_"), {
    tell: (why) =>
      why === undefined ? log.info("audit.writes") : log.error("audit.unwritable", { error: why }),
  });
  const { store, trouble } = writableStore(
    measuredStore(
      await openStore(options.store ?? paths.store).catch((error: unknown) => {
        throw error instanceof StoreAddressError ? new UserError(error.message) : error;
      }),
    ),
    (why) => (why === undefined ? log.info("store.writes") : log.error("store.unwritable", { error: why })),
    // Hosts cannot tell that they are there then, either: nobody may conclude anything from that.
    () => audit.trouble,
  );
  collectProcessMetrics();
  // Backups are made of the store itself, in which Secrets are sealed.
  const opened = sealedStore(store, [SECRETS_PREFIX], pki.sealingKeys(), (key) =>
    log.error("secret.unreadable", { key, why: "its sealing key is not in pki/secrets.key" }),
  );
  const service = await Operations.open(opened, KINDS).catch((error: unknown) => {
    throw error instanceof StoredVersionError ? new UserError(error.message) : error;
  });
  const backup = () =>
    backupLines(store, { time: new Date().toISOString(), version: version(), files: pki.files() });
  const tickets = new Tickets(store);
  const takenOut = await TakenOut.open(store);
  const signer = signerOf(pki.derived("image signatures"));
  await removeEarlierLogs(paths.logs).catch((error: unknown) => log.warn("builds.logs", { error }));
  /** While this one leads. */
  let own: UseHistory | undefined;
  const client = new LocalClient(service);
  const api = await startApiServer({
    service,
    tickets,
    sessions: new Sessions(store),
    takenOut,
    ui: new Ui(WEB_UI),
    subresources: [
      ...consoleSubresources({ service, issuer: pki, tickets, log }),
      ...imageSubresources({ client, signer }),
      ...distributionSubresources(client, CACHE, log),
      ...directorSubresources(client, systemClock, () => own),
    ],
    pki,
    host,
    port: Number(port),
    log,
    version: version(),
    backup,
    audit,
    health: async () => {
      const message = trouble();
      // All can be read meanwhile.
      return [{ name: "store", ok: message === undefined, optional: true, ...(message ? { message } : {}) }];
    },
    ...(oidc ? { oidc } : {}),
  });
  if (!options.follow) {
    ensureAdminKubeconfig(pki, paths.kubeconfig, api.url);
    writeEnrolment(pki, join(paths.pki, "enrolment.json"), { url: api.url, ttlMs: ENROLMENT_TTL_MS });
  }
  void service.failed.then((error) => {
    // The next `vireo up` starts it again (docs/operating.md); then everything is read anew.
    log.error("store.failed", { error });
    process.exitCode = 1;
    stop.abort();
  });
  log.info("server.ready", { url: api.url });
  for (const { kind, metadata } of service.invalid)
    log.warn("object.invalid", {
      kind,
      name: metadata.name,
      namespace: metadata.namespace,
      why: invalidity({ metadata }),
    });

  const clock = systemClock;
  const announced = announceControlPlane({ client, clock, log, signal, bootId: bootId() });
  await runAsLeader(
    client,
    {
      lease: "control-plane",
      identity: `${host}:${port} ${randomUUID()}`,
      durationSeconds: 15,
      clock,
      log,
      signal,
    },
    async (leading) => {
      const events = new EventRecorder(client, "control-plane", log, clock);
      for (const { kind, metadata } of service.invalid)
        events.record({ kind, ...metadata }, "Warning", "Invalid", `skipped: ${invalidity({ metadata })}`);
      const keeper = await HistoryKeeper.open({ client, clock, log });
      // Else nobody would feed it any more, and nothing take it back.
      if (leading.aborted) return;
      own = keeper.history;
      leading.addEventListener("abort", () => {
        own = undefined;
      });
      const context = { client, clock, log, signal: leading, history: keeper.history };
      await Promise.all([
        runHostReconciler(context),
        runPowerReconciler({
          ...context,
          secretOf: (at) => client.get(Secret, at),
          bootId: bootId(),
          wakeTestWaits: wakeTestsOf({ ...context, bootId: bootId() }),
        }),
        runVirtualMachineReconciler(context),
        runMigrationReconciler(context),
        runSnapshotReconciler(context),
        runCloneReconciler(context),
        runGuestCommandReconciler(context),
        runQuotaReconciler(context),
        runScheduler(context),
        runDestinations(context),
        runPlanner(context),
        keeper.run(leading),
        runHostPower({ ...context, bootId: bootId() }),
        runPlanExecutor(context),
        runImageReconciler(context),
        runBuildReconciler({ ...context, cache: CACHE, signer }),
        runImportReconciler(context),
        runImageCollector(context),
        runEventExpiry(context),
      ]);
    },
  );
  await api.close();
  takenOut.close();
  audit.close();
  await service.close();
  await store.close();
  await announced;
  await stopTracing();
}
