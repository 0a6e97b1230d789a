// Reads HOST:PORT, and says which hosts are this device's own; opens no socket, asks no DNS.
package escalade.core.wire

private const val MOST_PORT = 65535
private const val SHOWN = 300

// No host has these; a scheme, a path, a password or a slip of the pen would.
private val NOT_IN_HOST = Regex("[\\s\\x00-\\x1f\\x7f/@?#\\\\\\[\\]]")
private val IPV6 = Regex("[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
private val LOOPBACK_IPV4 = Regex("127(\\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}")

/** Whom to call; an IPv6 host without its brackets. */
data class Address(val host: String, val port: Int) {
    /** Whether it is this device itself; no name but `localhost` is believed to be. */
    val isLoopback: Boolean get() = host == "localhost" || host == "::1" || LOOPBACK_IPV4.matches(host)

    override fun toString() = if (':' in host) "[$host]:$port" else "$host:$port"

    companion object {
        /**
         * Read `HOST:PORT` or `[IPV6]:PORT`.
         *
         * @throws IllegalArgumentException it is none, or the port is out of range.
         */
        fun parse(text: String): Address {
            val port = text.substringAfterLast(':', "").takeIf { Regex("[0-9]{1,5}").matches(it) }?.toInt()
            var host = text.substringBeforeLast(':', "")
            val inBrackets = host.startsWith("[") && host.endsWith("]")
            if (inBrackets) host = host.substring(1, host.length - 1)
            val good = if (inBrackets) IPV6.matches(host) else host.isNotEmpty() && ':' !in host
            require(good && port != null && port in 1..MOST_PORT && !NOT_IN_HOST.containsMatchIn(host)) {
                "must be HOST:PORT with a port in 1-$MOST_PORT, got '${text.take(SHOWN)}'"
            }
            // To some resolvers, `localhost.` is a name that a DNS server may know.
            val name = host.lowercase().removeSuffix(".")
            return Address(if (name == "localhost") name else host, port)
        }
    }
}

/**
 * Refuse to send anything in the clear to another machine.
 *
 * @throws IllegalArgumentException [tls] is off and the address is not loopback.
 */
fun checkCleartext(address: Address, tls: Boolean) {
    require(tls || address.isLoopback) { "$address: without TLS only loopback is called" }
}
