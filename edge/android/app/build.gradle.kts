// The sample app: onnxruntime-android, a tokenizer, okhttp's gRPC and a screen around :core and :wire.
plugins {
    id("com.android.application")
}

android {
    namespace = "escalade.app"
    compileSdk = 36
    defaultConfig {
        applicationId = "escalade.app"
        // java.nio.file and java.util.Base64, which :core takes, are of Android 8.
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "0.1.0"
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    implementation(project(":core"))
    implementation(project(":wire"))
    // The newest that the registries we read name; `constraints.txt` has a newer one for Python.
    implementation("com.microsoft.onnxruntime:onnxruntime-android:1.27.0")
    // Rust's `tokenizers`, which reads the artifact's tokenizer.json, and its library for phones.
    implementation("ai.djl.huggingface:tokenizers:0.33.0")
    implementation("ai.djl.android:tokenizer-native:0.33.0")
    implementation("io.grpc:grpc-okhttp:1.76.0")
}
