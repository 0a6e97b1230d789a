// An artifact behind an address: manifest, integrity, what is kept; loads no program.

export { sha256 } from "./digest";
export { type Fetch, type Fetched, Folder, type Progress } from "./fetching";
export { type Golden, type Manifest, parseManifest, planesOf, TOKENIZER_NAME } from "./manifest";
export { Memory, type Place, PrivateFiles } from "./place";
export { joinedName, joinPlanes, type PlanesEntry, planesName } from "./planes";
