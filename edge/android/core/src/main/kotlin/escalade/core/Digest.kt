// SHA-256, in hexadecimal; knows no file.
package escalade.core

import java.security.MessageDigest

/** Of bytes. */
fun sha256(raw: ByteArray): String = hexadecimal(MessageDigest.getInstance("SHA-256").digest(raw))

internal fun hexadecimal(bytes: ByteArray) = bytes.joinToString("") { "%02x".format(it) }
