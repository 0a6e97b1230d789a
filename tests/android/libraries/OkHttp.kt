// grpc-okhttp's builder, as far as the app calls it: Debian's gRPC for Java has netty in its place.
package io.grpc.okhttp

import io.grpc.ManagedChannel
import java.util.concurrent.TimeUnit

class OkHttpChannelBuilder {
    fun keepAliveTime(time: Long, unit: TimeUnit): OkHttpChannelBuilder = TODO("$time $unit")
    fun keepAliveTimeout(time: Long, unit: TimeUnit): OkHttpChannelBuilder = TODO("$time $unit")
    fun useTransportSecurity(): OkHttpChannelBuilder = TODO()
    fun usePlaintext(): OkHttpChannelBuilder = TODO()
    fun build(): ManagedChannel = TODO()

    companion object {
        fun forAddress(name: String, port: Int): OkHttpChannelBuilder = TODO("$name $port")
    }
}
