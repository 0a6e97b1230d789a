// Where bytes are kept between visits: the browser's own files (OPFS), or nowhere; knows no artifact.
//
// A file is written piece by piece, so that one that was cut off (a tab killed, a train in a tunnel)
// goes on where it ended.

/** Keeps named bytes. */
export interface Place {
  /** What is there under a name, or null. */
  read(name: string): Promise<Uint8Array<ArrayBuffer> | null>;
  /** How many bytes are there. */
  size(name: string): Promise<number>;
  /** Write pieces from a place in the file on; what is after them is cut off. */
  open(name: string, from: number): Promise<Writer>;
  /** Forget it. */
  remove(name: string): Promise<void>;
  /** The names of all. */
  names(): Promise<string[]>;
}

/** An open file. */
export interface Writer {
  write(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  close(): Promise<void>;
}

/** Forgets everything with the page: where a browser has no storage, or the user forbids it. */
export class Memory implements Place {
  private readonly files = new Map<string, Uint8Array<ArrayBuffer>>();

  async read(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    return this.files.get(name) ?? null;
  }

  async size(name: string): Promise<number> {
    return this.files.get(name)?.length ?? 0;
  }

  async open(name: string, from: number): Promise<Writer> {
    this.files.set(name, (this.files.get(name) ?? new Uint8Array()).slice(0, from));
    return {
      write: async (bytes) => {
        const before = this.files.get(name) ?? new Uint8Array();
        const both = new Uint8Array(before.length + bytes.length);
        both.set(before);
        both.set(bytes, before.length);
        this.files.set(name, both);
      },
      close: async () => {},
    };
  }

  async remove(name: string): Promise<void> {
    this.files.delete(name);
  }

  async names(): Promise<string[]> {
    return [...this.files.keys()];
  }
}

/** A folder of the origin's private file system; in a worker alone, where writing is in place. */
export class PrivateFiles implements Place {
  private constructor(private readonly folder: FileSystemDirectoryHandle) {}

  /** Null where the browser has none, or does not let this page have it. */
  static async open(name: string): Promise<PrivateFiles | null> {
    try {
      const root = await navigator.storage.getDirectory();
      return new PrivateFiles(await root.getDirectoryHandle(name, { create: true }));
    } catch {
      return null;
    }
  }

  async read(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    try {
      const file = await (await this.folder.getFileHandle(name)).getFile();
      return new Uint8Array(await file.arrayBuffer());
    } catch {
      return null; // not there, or cleared while it was read
    }
  }

  async size(name: string): Promise<number> {
    try {
      return (await (await this.folder.getFileHandle(name)).getFile()).size;
    } catch {
      return 0;
    }
  }

  async open(name: string, from: number): Promise<Writer> {
    const handle = await this.folder.getFileHandle(name, { create: true });
    // Fails where another tab has it open: who called goes on without keeping it.
    const access = await handle.createSyncAccessHandle();
    access.truncate(from);
    let at = from;
    return {
      write: async (bytes) => {
        const wrote = access.write(bytes, { at });
        if (wrote !== bytes.length) {
          throw new DOMException(`wrote ${wrote} of ${bytes.length} bytes`, "QuotaExceededError");
        }
        at += bytes.length;
      },
      close: async () => {
        access.flush();
        access.close();
      },
    };
  }

  async remove(name: string): Promise<void> {
    await this.folder.removeEntry(name).catch(() => {});
  }

  async names(): Promise<string[]> {
    const found: string[] = [];
    for await (const name of this.folder.keys()) {
      found.push(name);
    }
    return found;
  }
}
