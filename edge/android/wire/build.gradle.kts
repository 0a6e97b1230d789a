// The tier above over gRPC: grpc-java's stubs, lite, with whatever channel it is given.
plugins {
    kotlin("jvm")
    id("com.google.protobuf")
}

kotlin {
    jvmToolchain(17)
    compilerOptions { allWarningsAsErrors = true }
}

val grpc = "1.76.0"
// protoc and its runtime go together; this is the pair that grpc-java 1.76 names.
val protobufs = "3.25.8"

sourceSets.main { proto { srcDir(rootDir.resolve("../../protos")) } }

protobuf {
    protoc { artifact = "com.google.protobuf:protoc:$protobufs" }
    plugins { create("grpc") { artifact = "io.grpc:protoc-gen-grpc-java:$grpc" } }
    generateProtoTasks {
        all().configureEach {
            builtins { named("java") { option("lite") } }
            plugins {
                create("grpc") {
                    option("lite")
                    option("@generated=omit")
                }
            }
        }
    }
}

dependencies {
    api(project(":core"))
    api("io.grpc:grpc-stub:$grpc")
    implementation("io.grpc:grpc-protobuf-lite:$grpc")
    implementation("com.google.protobuf:protobuf-javalite:$protobufs")
    testImplementation(kotlin("test-junit5"))
    testRuntimeOnly("io.grpc:grpc-netty-shaded:$grpc")
}

tasks.test {
    useJUnitPlatform()
    // A server to ask, as tests/android/check.py starts one.
    onlyIf { providers.gradleProperty("escalade.server").isPresent }
    for (name in listOf("server", "prompt", "ids", "fingerprint", "answer")) {
        providers.gradleProperty("escalade.$name").orNull?.let { systemProperty("escalade.$name", it) }
    }
}
