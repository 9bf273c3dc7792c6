// Sealing anything for the devices of people, over whatever transport: media keys of calls, for one.

import { decrypt, encryptMany, forget } from "../e2ee.js";
import { UntrustedIdentity } from "../errors.js";
import { Address } from "../records.js";
import { b64, sealedPlaintext, unb64, unsealedPlaintext } from "./contents.js";

export class Sealing {
  #context;
  #directory;

  constructor(context, directory) {
    this.#context = context;
    this.#directory = directory;
  }

  /** {user: {device: base64}} for every listed device of the users but this one. */
  seal(users, data, purpose, context) {
    return this.#context.exclusively(async () => {
      const { store, address } = this.#context;
      const addresses = [];
      for (const user of users) {
        await this.#directory.refresh(user);
        const list = await this.#directory.current(user);
        addresses.push(...(list?.devices ?? []).map((record) => record.address).filter((one) => !one.equals(address)));
      }
      await this.#directory.sessions(addresses);
      const messages = await encryptMany(store, addresses, sealedPlaintext(purpose, context, data));
      const sealed = {};
      addresses.forEach(({ user, device }, index) => ((sealed[user] ??= {})[device] = b64(messages[index])));
      return sealed;
    });
  }

  /** What a device has sealed for this one, once. */
  open(user, device, sealed, purpose, context) {
    return this.#context.exclusively(async () => {
      const { store } = this.#context;
      if (!(await this.#directory.current(user))) await this.#directory.refresh(user);
      if (!(await this.#directory.current(user))) throw new UntrustedIdentity("no device list vouches for this device");
      const attempt = () => decrypt(store, new Address(user, device), unb64(sealed));
      const received = await attempt().catch(async (error) => {
        if (error.code !== "untrusted_identity") throw error;
        await this.#directory.refresh(user);
        return attempt();
      });
      await forget(store, received);
      return unsealedPlaintext(received.plaintext, purpose, context);
    });
  }
}
