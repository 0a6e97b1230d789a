// Manifest, hashes, rules, gates, the climb: plain Kotlin, no dependency. Tested here by `make test-android`.
plugins {
    kotlin("jvm")
}

kotlin {
    jvmToolchain(17)
    compilerOptions { allWarningsAsErrors = true }
}

dependencies {
    testImplementation(kotlin("test-junit5"))
}

// What `escalade export` has written for the tests; see README.md.
val artifact = providers.gradleProperty("escalade.artifact")

tasks.test {
    useJUnitPlatform()
    systemProperty("escalade.vectors", rootDir.resolve("../web/test/vectors/deferral.json").path)
    artifact.orNull?.let { systemProperty("escalade.artifact", it) }
}
