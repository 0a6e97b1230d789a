// What can go wrong on this device; knows no part.
//
//   EscaladeException
//   ├── ArtifactException    the folder is not one, was altered, or its program cannot be run here
//   ├── ParityException      the program does not answer as its manifest says
//   ├── PromptException      the prompt is empty, or too long
//   ├── CascadeException     the tiers and gates are no cascade
//   └── CloudException       a tier elsewhere did not answer; `reason` as the wire names it
package escalade.core

/** Of everything that this library raises by itself. */
sealed class EscaladeException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** The artifact is none, was altered, or cannot be run here. */
class ArtifactException(message: String, cause: Throwable? = null) : EscaladeException(message, cause)

/** The program gives other tokens or scores than its manifest says. */
class ParityException(message: String) : EscaladeException(message)

/** A prompt that the model cannot take. */
class PromptException(message: String) : EscaladeException(message)

/** Tiers and gates that are no cascade. */
class CascadeException(message: String) : EscaladeException(message)

/** A tier elsewhere did not answer; [reason] is an `ErrorReason` without its prefix, or gRPC's code. */
class CloudException(val reason: String, message: String, cause: Throwable? = null) :
    EscaladeException(message, cause)
