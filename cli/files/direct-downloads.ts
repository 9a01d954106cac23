// Bytes come from the blob store itself where it gives links, and through the API where those can not be followed.

type Open = (query: { redirect?: 'yes' }) => Promise<Response>;

/** One link that fails, for example because the store can not be reached from here, is the last that is asked for. */
export function createDirectDownloads(): (open: Open) => Promise<Response> {
  let links = true;
  return async (open) => {
    if (links) {
      const response = await open({ redirect: 'yes' }).catch(() => null);
      if (response !== null) return response;
    }
    // What is wrong with the API or the file itself is said by this call.
    const response = await open({});
    links = false;
    return response;
  };
}
