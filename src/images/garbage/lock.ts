/** One at a time in this process, which is the one that leads: what makes files of a pool an image's, and what removes them. */
let last: Promise<unknown> = Promise.resolve();

/** Runs when all before it are over. @returns what it does. @throws what it does */
export function inTurn<T>(action: () => Promise<T>): Promise<T> {
  const turn = last.then(action, action);
  last = turn.catch(() => {});
  return turn;
}
