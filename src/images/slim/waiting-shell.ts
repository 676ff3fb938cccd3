/**
 * A shell that is there before it is needed: it runs what the guest agent writes to its pipe. To a guest that has just gone on with the memory of another, whose
 * code an emulated processor has yet to translate, starting one is most of the time that its new identity takes (agent/runs/identity.ts). It may do nothing that
 * the guest agent, which is root too, may not do.
 */
export const WAITING_SHELL = "/run/vireo-shell";

export const WAITING_SCRIPT = `#!/bin/sh
pipe=${WAITING_SHELL}
[ -p $pipe ] || mkfifo -m 600 $pipe
while :; do . $pipe; done
`;
