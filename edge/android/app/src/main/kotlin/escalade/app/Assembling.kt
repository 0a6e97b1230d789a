// Puts a cascade together: the artifact of this app, and perhaps a tier above; knows no screen.
package escalade.app

import android.content.Context
import escalade.core.artifact.Folder
import escalade.core.artifact.OpenedArtifact
import escalade.core.cascade.Cascade
import escalade.core.cascade.DeviceTier
import escalade.core.deferral.Early
import escalade.core.wire.Address
import escalade.core.wire.checkCleartext
import escalade.wire.RemoteTier
import io.grpc.okhttp.OkHttpChannelBuilder
import java.io.File
import java.util.concurrent.TimeUnit.SECONDS

// The folder that `escalade export` wrote, copied to app/src/main/assets/artifact.
private const val ARTIFACT = "artifact"

/**
 * What this app is to run: the manifest's SHA-256 (`sha256sum artifact/manifest.json`), which names every
 * other file's. Null takes whatever was packed into the app.
 */
private val MANIFEST_SHA256: String? = null

/** An opened artifact, and a cascade of it for as long as the tier above is the same. */
class Assembled(val artifact: OpenedArtifact) : AutoCloseable {
    private var above: RemoteTier? = null
    private var where: String? = null
    private var cascade = Cascade(listOf(DeviceTier("device", artifact)), emptyList())

    /**
     * The cascade; blocks while an answer is under way.
     *
     * @param server HOST:PORT of `escalade serve` or `escalade gateway`; blank is nobody.
     * @throws IllegalArgumentException it is no address.
     */
    fun cascade(server: String, token: String? = null): Cascade {
        if (server.trim() == where) return cascade
        val device = DeviceTier("device", artifact)
        val gate = DeviceTier.gateOf(artifact, early = Early.CERTAIN)
        val next = if (server.isBlank() || gate == null) null else remote(Address.parse(server.trim()), token)
        above?.close()
        above = next
        where = server.trim()
        cascade = if (next == null) Cascade(listOf(device), emptyList()) else Cascade(listOf(device, next), listOf(gate!!))
        return cascade
    }

    private fun remote(address: Address, token: String?): RemoteTier {
        val tls = !address.isLoopback
        checkCleartext(address, tls)
        // A connection that dies in silence is found within a query; the server takes pings this often.
        val channel = OkHttpChannelBuilder.forAddress(address.host, address.port)
            .keepAliveTime(3, SECONDS)
            .keepAliveTimeout(5, SECONDS)
            .apply { if (tls) useTransportSecurity() else usePlaintext() }
            .build()
        val model = artifact.manifest.model
        return RemoteTier(
            "above", channel, address.toString(), token,
            vocabularySizes = mapOf(model.tokenizerFingerprint to model.vocabularySize),
        )
    }

    override fun close() {
        above?.close()
        artifact.close()
    }

    companion object {
        /**
         * Open the artifact that is packed into the app; seconds, and no work for the thread of a screen.
         *
         * @throws escalade.core.EscaladeException it is none, or does not answer here as its manifest says.
         */
        fun open(context: Context): Assembled {
            val folder = Folder.open(unpacked(context), MANIFEST_SHA256)
            return Assembled(OpenedArtifact.open(folder, ::JsonTokenizer, OrtProgram::open))
        }

        /** onnxruntime maps files, which assets are not: they are copied once for each version of the app. */
        private fun unpacked(context: Context): File {
            val version = context.packageManager.getPackageInfo(context.packageName, 0).lastUpdateTime
            val target = File(context.noBackupFilesDir, "$ARTIFACT-$version")
            if (target.isDirectory) return target
            val aside = File(context.noBackupFilesDir, "$ARTIFACT.part").apply { deleteRecursively(); mkdirs() }
            for (name in context.assets.list(ARTIFACT).orEmpty()) {
                context.assets.open("$ARTIFACT/$name").use { from -> File(aside, name).outputStream().use(from::copyTo) }
            }
            context.noBackupFilesDir.listFiles { one -> one.name.startsWith("$ARTIFACT-") }?.forEach { it.deleteRecursively() }
            check(aside.renameTo(target)) { "$target: cannot be made" }
            return target
        }
    }
}
