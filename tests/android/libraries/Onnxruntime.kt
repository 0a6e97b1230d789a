// onnxruntime-android's Java interface, as far as the app calls it; written by hand from its documentation.
package ai.onnxruntime

import java.nio.FloatBuffer
import java.nio.LongBuffer
import java.util.Optional

class OrtException : Exception()

open class OnnxValue

class OnnxTensor : OnnxValue(), AutoCloseable {
    val longBuffer: LongBuffer get() = TODO()
    val floatBuffer: FloatBuffer get() = TODO()
    override fun close() = Unit

    companion object {
        fun createTensor(env: OrtEnvironment, data: LongBuffer, shape: LongArray): OnnxTensor = TODO("$env $data $shape")
        fun createTensor(env: OrtEnvironment, data: FloatBuffer, shape: LongArray): OnnxTensor = TODO("$env $data $shape")
    }
}

class OrtEnvironment {
    fun createSession(modelPath: String, options: OrtSession.SessionOptions): OrtSession = TODO("$modelPath $options")

    companion object {
        fun getEnvironment(): OrtEnvironment = TODO()
    }
}

class OrtSession : AutoCloseable {
    val inputNames: Set<String> get() = TODO()
    val outputNames: Set<String> get() = TODO()
    fun run(inputs: Map<String, OnnxTensor>, requestedOutputs: Set<String>): Result = TODO("$inputs $requestedOutputs")
    override fun close() = Unit

    class Result : AutoCloseable {
        fun get(key: String): Optional<OnnxValue> = TODO(key)
        override fun close() = Unit
    }

    class SessionOptions {
        fun setIntraOpNumThreads(numThreads: Int): Unit = TODO("$numThreads")
        fun addConfigEntry(configKey: String, configValue: String): Unit = TODO(configKey + configValue)
    }
}
