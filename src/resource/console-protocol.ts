/** Whom the certificate names by which control planes connect to agents; nobody logs in by it. */
export const CONTROL_PLANE_USER = "system:control-plane";
/** What an agent and a control plane speak after the upgrade of a request: bytes, as they are. */
export const CONSOLE_PROTOCOL = "vireo-console";
/** Header of an upgraded answer: the position of the first byte of a serial port's output. */
export const POSITION_HEADER = "x-serial-position";
