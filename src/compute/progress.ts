/** How far what is sent or copied is: memory and disks of a move, of a snapshot, of a rollback. */
import { Type } from "typebox";

const Bytes = Type.Integer({ minimum: 0 });

export const Sent = Type.Object({
  transferredBytes: Type.Optional(Bytes),
  remainingBytes: Type.Optional(Bytes),
});
export const SecondsLeft = Type.Integer({
  description: "How long it still takes, by what was sent of late; absent while that is not known.",
});
