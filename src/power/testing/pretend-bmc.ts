/** A BMC that is only told what to say, for tests of the reconciler; real ones: ipmi-sim.ts. */
import { type Bmc, BmcError, type PowerState } from "../bmc.ts";

export class PretendBmc implements Bmc {
  power: PowerState;
  /** Whether the host's system heeds being asked. */
  heeds = true;
  /** Whether the host comes on. */
  comesOn = true;
  /** What it answers instead. */
  broken: string | undefined;
  readonly pressed: string[] = [];

  constructor(power: PowerState) {
    this.power = power;
  }

  #answer(): void {
    if (this.broken !== undefined) throw new BmcError(this.broken);
  }
  async state(): Promise<PowerState> {
    this.#answer();
    return this.power;
  }
  async on(): Promise<void> {
    this.#answer();
    this.pressed.push("on");
    if (this.comesOn) this.power = "On";
  }
  async shutDown(): Promise<void> {
    this.#answer();
    this.pressed.push("shutDown");
    if (this.heeds) this.power = "Off";
  }
  async cut(): Promise<void> {
    this.#answer();
    this.pressed.push("cut");
    this.power = "Off";
  }
}
