// Fetches the files of an artifact's folder and keeps them by their digest; knows no model.
//
// Nothing is handed on that is not as long as the manifest says and has its SHA-256, whether it came
// from the network or from the browser's storage.

import { ArtifactError } from "../errors";
import { sha256 } from "./digest";
import { type FileEntry, MANIFEST_NAME, MAX_MANIFEST_BYTES } from "./manifest";
import type { Place, Writer } from "./place";

// What a kept manifest is called, before a digest of its folder's address.
const MANIFEST = "manifest-";

/** How far a file has come. */
export interface Progress {
  file: string;
  bytes: number;
  of: number;
}

/** What became of the bytes of an artifact. */
export interface Fetched {
  /** Came over the network, and were there already. */
  fetched: number;
  kept: number;
  /** Why they are not kept for the next time; null where they are. */
  notKept: string | null;
  /** Whether the manifest is the one of an earlier visit, since nobody answered. */
  offline: boolean;
}

export type Fetch = (input: string, init?: RequestInit) => Promise<Response>;

/** One artifact's folder behind an address. */
export class Folder {
  readonly told: Fetched = { fetched: 0, kept: 0, notKept: null, offline: false };

  /**
   * @param url of the folder; a slash at its end is added.
   * @param place where files are kept.
   * @param load how they are fetched.
   */
  constructor(
    readonly url: string,
    private readonly place: Place,
    private readonly load: Fetch = (input, init) => fetch(input, init),
    private readonly say: (progress: Progress) => void = () => {},
  ) {
    this.url = url.endsWith("/") ? url : `${url}/`;
  }

  /** The manifest's bytes: what the server has, or else what it had on the last visit. */
  async manifest(): Promise<Uint8Array<ArrayBuffer>> {
    const where = this.url + MANIFEST_NAME;
    const name = await this.manifestName();
    let response: Response;
    try {
      response = await this.load(where, { cache: "no-cache" });
    } catch (error) {
      const kept = await this.place.read(name);
      if (kept === null || kept.length === 0) {
        throw new ArtifactError(`${where}: cannot be fetched: ${(error as Error).message}`);
      }
      this.told.offline = true;
      return kept;
    }
    checkFound(response, where);
    return bounded(response, MAX_MANIFEST_BYTES, where);
  }

  /**
   * Keep a manifest for a visit without a network, now that its artifact has been opened, and forget
   * the files that no kept manifest names any more.
   */
  async settle(raw: Uint8Array<ArrayBuffer>): Promise<void> {
    const own = await this.manifestName();
    await this.keep(own, raw);
    const wanted = new Set<string>();
    const names = await this.place.names();
    for (const name of names.filter((one) => one.startsWith(MANIFEST))) {
      wanted.add(name);
      const kept = new TextDecoder().decode((await this.place.read(name)) ?? undefined);
      for (const [digest] of kept.matchAll(/[0-9a-f]{64}/g)) {
        wanted.add(digest);
      }
    }
    if (this.told.notKept === null) {
      await Promise.all(
        names.filter((name) => !wanted.has(name)).map((name) => this.place.remove(name)),
      );
    }
  }

  private async manifestName(): Promise<string> {
    return MANIFEST + (await sha256(new TextEncoder().encode(this.url)));
  }

  /** A file's bytes, held to its entry in the manifest. */
  async file(name: string, entry: FileEntry): Promise<Uint8Array<ArrayBuffer>> {
    const kept = await this.place.read(entry.sha256);
    if (kept?.length === entry.bytes && (await sha256(kept)) === entry.sha256) {
      this.told.kept += entry.bytes;
      return kept;
    }
    const whole = kept !== null && kept.length < entry.bytes ? kept : new Uint8Array();
    let bytes = await this.fetch(name, entry, whole);
    if (whole.length > 0 && (await sha256(bytes)) !== entry.sha256) {
      // The beginning that was kept was not this file's: once more, from the start.
      bytes = await this.fetch(name, entry, new Uint8Array());
    }
    const found = await sha256(bytes);
    if (bytes.length !== entry.bytes || found !== entry.sha256) {
      await this.place.remove(entry.sha256);
      throw new ArtifactError(
        bytes.length === entry.bytes
          ? `${this.url}${name}: altered: sha256 ${found.slice(0, 12)}, the manifest says ${entry.sha256.slice(0, 12)}`
          : `${this.url}${name}: ${bytes.length} bytes, the manifest says ${entry.bytes}`,
      );
    }
    return bytes;
  }

  private async fetch(
    name: string,
    entry: FileEntry,
    begun: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const where = this.url + name;
    const response = await this.answer(where, begun.length);
    const from = response.status === 206 ? begun.length : 0;
    const bytes = new Uint8Array(entry.bytes);
    bytes.set(begun.subarray(0, from));
    let at = from;
    const writer = await this.writer(entry.sha256, from);
    try {
      for await (const piece of pieces(response)) {
        if (at + piece.length > entry.bytes) {
          throw new ArtifactError(`${where}: more bytes than ${entry.bytes}, as the manifest says`);
        }
        bytes.set(piece, at);
        at += piece.length;
        this.told.fetched += piece.length;
        await this.write(writer, piece);
        this.say({ file: name, bytes: at, of: entry.bytes });
      }
    } catch (error) {
      if (error instanceof ArtifactError) {
        throw error;
      }
      throw new ArtifactError(
        `${where}: ended after ${at} of ${entry.bytes} bytes: ${(error as Error).message}`,
      );
    } finally {
      await writer?.close().catch(() => {});
    }
    return at === entry.bytes ? bytes : bytes.slice(0, at);
  }

  private async answer(where: string, from: number): Promise<Response> {
    let response: Response;
    try {
      // Without compression on the way, or a part would be of something else.
      const headers = from > 0 ? { Range: `bytes=${from}-` } : {};
      response = await this.load(where, { cache: "no-store", headers });
    } catch (error) {
      throw new ArtifactError(`${where}: cannot be fetched: ${(error as Error).message}`);
    }
    if (response.status === 416) {
      return this.answer(where, 0);
    }
    checkFound(response, where);
    return response;
  }

  private async writer(name: string, from: number): Promise<Writer | null> {
    try {
      return await this.place.open(name, from);
    } catch (error) {
      this.told.notKept ??= (error as Error).message;
      return null;
    }
  }

  private async write(writer: Writer | null, piece: Uint8Array<ArrayBuffer>): Promise<void> {
    if (writer === null || this.told.notKept !== null) {
      return;
    }
    try {
      await writer.write(piece);
    } catch (error) {
      // Full, or cleared: this visit goes on from memory.
      this.told.notKept = (error as Error).message;
    }
  }

  private async keep(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const writer = await this.writer(name, 0);
    await this.write(writer, bytes);
    await writer?.close().catch(() => {});
  }
}

function checkFound(response: Response, where: string): void {
  if (!response.ok) {
    throw new ArtifactError(`${where}: HTTP ${response.status}`);
  }
}

async function* pieces(response: Response): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const reader = response.body?.getReader();
  while (reader !== undefined) {
    const { done, value } = await reader.read();
    if (done) {
      return;
    }
    yield value;
  }
}

async function bounded(
  response: Response,
  most: number,
  where: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const piece of pieces(response)) {
    size += piece.length;
    if (size > most) {
      throw new ArtifactError(`${where}: more than ${most} bytes`);
    }
    parts.push(piece);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
