// Changes many photos by a request for each, and counts those that fail.

const AT_ONCE = 4;

/** Call a function for each id; returns the ids that succeeded, and the problems of the others. */
export async function changeEach(ids, change, onProgress) {
  const [done, problems, left] = [[], [], [...ids]];
  const next = async () => {
    const id = left.shift();
    try {
      await patiently(() => change(id));
      done.push(id);
    } catch (problem) {
      if ([401, 403].includes(problem.status)) throw problem; // all others would fail, too
      problems.push(problem);
    }
    onProgress(done.length + problems.length, ids.length);
  };
  await next(); // alone: it may ask for a key
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (left.length) await next();
  }));
  return { done, problems };
}

/** Repeat a request as long as the server limits their rate. */
async function patiently(request) {
  for (;;) {
    try {
      return await request();
    } catch (problem) {
      if (problem.status !== 429 || !problem.retryAfter) throw problem;
      await new Promise((resolve) => setTimeout(resolve, 1000 * problem.retryAfter));
    }
  }
}
