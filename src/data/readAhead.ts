/**
 * Results of `load`, in the order of the requests. While the consumer has one result, `count` more requests are under
 * way. An error of a request is thrown when its turn comes.
 *
 * @returns also how long the consumer waited, in seconds
 */
export async function* readAhead<Request, Result>(
  requests: Iterator<Request>,
  load: (request: Request) => Result | Promise<Result>,
  count: number,
): AsyncGenerator<{ request: Request; loaded: Result; waitSeconds: number }> {
  const ahead: { request: Request; loading: Result | Promise<Result> }[] = [];
  const requestNext = () => {
    const { value: request, done } = requests.next();
    if (done) return;
    const loading = load(request);
    // An error is for the consumer, when it comes to this request; till then it counts as seen.
    if (loading instanceof Promise) loading.catch(() => {});
    ahead.push({ request, loading });
  };
  let began = performance.now();
  for (let i = 0; i < count; i++) requestNext();
  for (;;) {
    requestNext();
    const next = ahead.shift();
    if (!next) return;
    const loaded = await next.loading;
    yield { request: next.request, loaded, waitSeconds: (performance.now() - began) / 1000 };
    began = performance.now();
  }
}
