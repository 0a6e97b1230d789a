// The build of the sample app: two modules that need no Android, and the app. Never run here: README.md.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
    plugins {
        id("com.android.application") version "9.1.0"
        kotlin("jvm") version "2.4.20"
        id("com.google.protobuf") version "0.9.5"
    }
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "escalade"
include(":core", ":wire", ":app")
