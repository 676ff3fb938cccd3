/** A machine's interface on a network. */
import { Type } from "typebox";
import { Name } from "../resource/kind.ts";
import { Port } from "./disks/kinds.ts";

const IPv4 = Type.String({ pattern: "^(\\d{1,3}\\.){3}\\d{1,3}$" });
const Mac = Type.String({ pattern: "^([0-9a-f]{2}:){5}[0-9a-f]{2}$" });

export const NetworkInterface = Type.Object({
  network: Name("The Network it is attached to."),
  mac: Mac,
  address: IPv4,
  port: Port,
});
