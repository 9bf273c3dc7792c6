// Signing out: what the page still asks for is not waited for, nor refused a moment later.

const leaving = new AbortController();
const never = new Promise(() => {});

/** `fetch`, for as long as the user is signed in. @type {typeof fetch} */
export async function whileSignedIn(url, options = {}) {
  if (leaving.signal.aborted) return never;
  const { signal } = options;
  try {
    return await fetch(url, { ...options, signal: signal ? AbortSignal.any([signal, leaving.signal]) : leaving.signal });
  } catch (error) {
    if (leaving.signal.aborted) return never;
    throw error;
  }
}

/** The user signs out with this form. @param {HTMLFormElement} form @param {import("../mana/mana.js").ManaClient} client */
export function leaveWith(form, client) {
  form.addEventListener("submit", () => {
    client.disconnect();
    leaving.abort();
  });
  // Back to a page that the browser has kept.
  addEventListener("pageshow", (event) => event.persisted && leaving.signal.aborted && location.reload());
}
