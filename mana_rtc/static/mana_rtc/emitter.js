/** An EventTarget whose listeners get the detail alone. */
export class Emitter extends EventTarget {
  /**
   * Call `listener` with the detail of every event of this type.
   * @returns {() => void} stops it
   */
  on(type, listener) {
    const handler = (event) => listener(event.detail);
    this.addEventListener(type, handler);
    return () => this.removeEventListener(type, handler);
  }

  /** @protected */
  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** What went wrong with a call, with a stable `code` beside the text for people (calls.js lists them). */
export class CallError extends Error {
  /** @param {string} code @param {string} message @param {object} [extra] */
  constructor(code, message, extra = {}) {
    super(message);
    this.name = "CallError";
    this.code = code;
    Object.assign(this, extra);
  }
}

/** Runs work one after the other; what fails is told to `onError` and holds nothing up. */
export class Queue {
  #last = Promise.resolve();
  #onError;

  /** @param {(error: Error) => void} onError */
  constructor(onError = () => {}) {
    this.#onError = onError;
  }

  /** @returns {Promise<void>} that it is done, or has failed */
  add(work) {
    this.#last = this.#last.then(work).catch(this.#onError);
    return this.#last;
  }
}
