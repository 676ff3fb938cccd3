/** Two things at once, of which neither may go on behind our back. @throws the first's reason, or the second's, once both are over */
export async function bothOf<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([first, second]);
  return Promise.all([first, second]);
}
