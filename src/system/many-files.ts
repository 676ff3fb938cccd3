/**
 * Each call on a file waits in a thread of libuv's, of which there are 4: so many calls on a file server that is gone would hold up those on all other files, of the store and of other
 * storage pools. To be called before the first of them.
 */
export const waitForManyFiles = () => {
  process.env.UV_THREADPOOL_SIZE ??= "64";
};
