/** How often agents look at their machines. */

const LOOK_SECONDS = 30;
/** Up to so many hosts; of some 16 machines each, 67 machines a second are looked at then. */
const MANY_HOSTS = 125;

/**
 * Seconds between two looks at each machine of a host, which tell what it uses. Each change of that is a write that all who watch machines see: of thousands
 * of hosts at the pace of a few, a control plane would do nothing else. Doubles with the hosts, so that it seldom becomes another one.
 */
export const lookSeconds = (hosts: number): number =>
  LOOK_SECONDS * 2 ** Math.max(0, Math.ceil(Math.log2(hosts / MANY_HOSTS)));
