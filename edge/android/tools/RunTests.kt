// Runs the tests of this build where there is no Gradle and no JUnit; knows no test.
//
// `kotlin.test.Test` is JUnit's annotation in a Gradle build, and this one here: compiled with
// -Xallow-kotlin-package beside the tests.
package kotlin.test

import java.lang.reflect.InvocationTargetException
import kotlin.system.exitProcess

/** Marks a test. */
@Retention(AnnotationRetention.RUNTIME)
@Target(AnnotationTarget.FUNCTION)
annotation class Test

/** Runs all tests of the classes that are named; the last line counts them. */
fun main(classes: Array<String>) {
    var passed = 0
    var failed = 0
    for (name in classes) {
        val type = Class.forName(name)
        val tests = type.declaredMethods.filter { it.isAnnotationPresent(Test::class.java) }.sortedBy { it.name }
        check(tests.isNotEmpty()) { "$name has no tests" }
        for (test in tests) {
            try {
                test.invoke(type.getDeclaredConstructor().newInstance())
                passed += 1
            } catch (error: InvocationTargetException) {
                failed += 1
                println("FAILED $name: ${test.name}")
                (error.cause ?: error).printStackTrace(System.out)
            }
        }
    }
    println("$passed passed, $failed failed")
    exitProcess(if (failed > 0 || passed == 0) 1 else 0)
}
