// The files of an artifact as a program is loaded from them, each let go as it is; knows no runtime.

import { joinedName, joinPlanes, type Manifest, planesName, planesOf } from "../artifact";
import { ArtifactError } from "../errors";

/** Checked files by name. */
export type Files = Map<string, Uint8Array<ArrayBuffer>>;

/** A file that a graph finds beside it. */
export interface ExternalData {
  path: string;
  data: Uint8Array<ArrayBuffer>;
}

/** A file, which is not kept any more; throws `ArtifactError` where there is none. */
export function taken(files: Files, name: string): Uint8Array<ArrayBuffer> {
  const found = files.get(name);
  if (found === undefined) {
    throw new ArtifactError(`${name}: missing`);
  }
  files.delete(name);
  return found;
}

/**
 * The files that a program names, likewise, under the names that it has for them.
 *
 * Planes are joined here and not by nodes of the graph, whose results onnxruntime would keep until it
 * has loaded all; what is stored of them is let go before it begins.
 */
export function dataTaken(manifest: Manifest, files: Files): ExternalData[] {
  const { program } = manifest;
  const planes = planesOf(manifest);
  if (planes.length > 0) {
    files.set(joinedName(program), joinPlanes(taken(files, planesName(program)), planes));
  }
  return [...files.keys()]
    .filter((name) => name.startsWith(`${program}.`))
    .map((path) => ({ path, data: taken(files, path) }));
}
