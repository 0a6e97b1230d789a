// A folder held against its manifest: every size and SHA-256, before a byte of it is used.
package escalade.core.artifact

import escalade.core.ArtifactException
import escalade.core.hexadecimal
import escalade.core.sha256
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.nio.file.Files
import java.nio.file.LinkOption.NOFOLLOW_LINKS
import java.security.MessageDigest

private const val CHUNK_BYTES = 1 shl 16

/** An artifact's folder whose every file is as its manifest says. */
class Folder private constructor(val path: File, val manifest: Manifest, val manifestSha256: String) {
    /** The path of a listed file. */
    fun file(name: String): File {
        require(name in manifest.files) { "$name: the manifest does not list it" }
        return File(path, name)
    }

    /** The content of a listed file, checked once more: what is parsed is what was hashed. */
    fun read(name: String): ByteArray {
        val entry = manifest.files.getValue(name)
        val file = file(name)
        if (entry.bytes > MAX_READ_BYTES) throw ArtifactException("$file: more than $MAX_READ_BYTES bytes")
        val raw = bounded(file, entry.bytes.toInt())
        if (sha256(raw) != entry.sha256) throw ArtifactException("$file: altered while it was opened")
        return raw
    }

    companion object {
        /** What is read into memory whole: tokenizers and routers. Programs are mapped. */
        private const val MAX_READ_BYTES = 1L shl 28

        /**
         * Read the manifest and check every file it names.
         *
         * @param manifestSha256 what the manifest's own SHA-256 must be, in hexadecimal: it names every
         *   other file's, so who knows it trusts no server. Null takes any.
         * @throws ArtifactException a file is missing, no regular file, has another size or hash, or is
         *   not listed; or see [parseManifest].
         */
        fun open(path: File, manifestSha256: String? = null): Folder {
            val file = File(path, MANIFEST_NAME)
            needRegular(file)
            val raw = bounded(file, MAX_MANIFEST_BYTES)
            val found = sha256(raw)
            if (manifestSha256 != null && found != manifestSha256) {
                throw ArtifactException("$file: its sha256 is ${found.take(12)}, not ${manifestSha256.take(12)}")
            }
            val manifest = parseManifest(raw, file.toString())
            for ((name, entry) in manifest.files) checkFile(File(path, name), entry)
            val known = manifest.files.keys + MANIFEST_NAME + SIGNATURE_NAME
            val others = path.list().orEmpty().filter { it !in known }.sorted()
            if (others.isNotEmpty()) throw ArtifactException("$path: ${others.first()}: the manifest does not list it")
            return Folder(path, manifest, found)
        }
    }
}

/** Hold a file against its entry. */
internal fun checkFile(file: File, entry: FileEntry) {
    needRegular(file)
    val size = file.length()
    if (size != entry.bytes) throw ArtifactException("$file: $size bytes, the manifest says ${entry.bytes}")
    val digest = MessageDigest.getInstance("SHA-256")
    opened(file) { stream ->
        val chunk = ByteArray(CHUNK_BYTES)
        while (true) {
            val count = stream.read(chunk)
            if (count < 0) break
            digest.update(chunk, 0, count)
        }
    }
    val found = hexadecimal(digest.digest())
    if (found != entry.sha256) {
        throw ArtifactException("$file: altered: sha256 ${found.take(12)}, the manifest says ${entry.sha256.take(12)}")
    }
}

private fun needRegular(file: File) {
    if (!Files.isRegularFile(file.toPath(), NOFOLLOW_LINKS)) {
        throw ArtifactException("$file: missing, or not a regular file")
    }
}

/** At most [most] bytes of a file and one more, so that who hashes or measures them sees that it is longer. */
private fun bounded(file: File, most: Int): ByteArray = opened(file) { stream ->
    // InputStream.readNBytes is of Android 13.
    val made = java.io.ByteArrayOutputStream()
    val chunk = ByteArray(CHUNK_BYTES)
    while (made.size() <= most) {
        val count = stream.read(chunk, 0, minOf(chunk.size, most + 1 - made.size()))
        if (count < 0) break
        made.write(chunk, 0, count)
    }
    made.toByteArray()
}

private fun <T> opened(file: File, use: (InputStream) -> T): T = try {
    file.inputStream().use(use)
} catch (error: IOException) {
    throw ArtifactException("$file: cannot be read: ${error.message}", error)
}
