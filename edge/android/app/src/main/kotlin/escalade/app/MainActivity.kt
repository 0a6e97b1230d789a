// One screen: a question, each token with how sure the device is of it, and who answered; runs no model.
package escalade.app

import android.app.Activity
import android.graphics.Color
import android.os.Bundle
import android.text.SpannableStringBuilder
import android.text.Spanned
import android.text.style.BackgroundColorSpan
import android.view.View
import android.view.inputmethod.EditorInfo
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import escalade.core.EscaladeException
import escalade.core.cascade.Answer
import escalade.core.cascade.Event
import escalade.core.cascade.Query
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicInteger
import kotlin.math.exp

/** The screen. The model lives in one thread of its own, so that the screen never stalls. */
class MainActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()

    /** Which question is the last: every earlier one is cancelled. */
    private val turn = AtomicInteger()
    private var assembled: Assembled? = null

    private lateinit var question: EditText
    private lateinit var server: EditText
    private lateinit var draft: TextView
    private lateinit var answer: TextView
    private lateinit var status: TextView

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(screen())
        status.setText(R.string.opening)
        worker.execute {
            val said = try {
                val opened = Assembled.open(applicationContext).also { assembled = it }
                val deferral = opened.artifact.manifest.deferral
                val tau = deferral.threshold?.let { "%.3f".format(it) } ?: getString(R.string.uncalibrated)
                getString(R.string.ready, opened.artifact.manifest.model.name, tau)
            } catch (error: EscaladeException) {
                error.message.orEmpty()
            }
            runOnUiThread { status.text = said }
        }
    }

    override fun onDestroy() {
        turn.incrementAndGet()
        worker.execute { assembled?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun ask() {
        val mine = turn.incrementAndGet()
        val (text, where) = question.text.toString() to server.text.toString()
        draft.text = ""
        answer.text = ""
        status.text = ""
        worker.execute {
            val opened = assembled ?: return@execute
            try {
                val said = opened.cascade(where).ask(Query(text), { turn.get() != mine }) { event -> shown(mine, event) }
                runOnUiThread { if (turn.get() == mine) finish(said) }
            } catch (error: EscaladeException) {
                failed(mine, error)
            } catch (error: IllegalArgumentException) { // an address that is none
                failed(mine, error)
            }
        }
    }

    private fun failed(mine: Int, error: Exception) = runOnUiThread {
        if (turn.get() == mine) status.text = error.message
    }

    private fun shown(mine: Int, event: Event) = runOnUiThread {
        if (turn.get() != mine) return@runOnUiThread
        when (event) {
            is Event.Token -> draft.text = SpannableStringBuilder(draft.text).append(marked(event))
            is Event.Piece -> answer.append(event.text)
            is Event.Scored -> status.text = "%s %s %.3f".format(event.score?.let { "%.3f".format(it) } ?: "–", if (event.defers) "≥" else "<", event.threshold)
            is Event.Failed -> status.text = event.reason
        }
    }

    private fun finish(said: Answer?) {
        if (said == null) {
            status.setText(R.string.cancelled)
            return
        }
        answer.text = said.text
        status.text = getString(
            R.string.verdict, said.outcome.name.lowercase(), said.tier, said.place.name.lowercase(),
            said.score?.let { "%.3f".format(it) } ?: "–", said.threshold?.let { "%.3f".format(it) } ?: "–",
            "%.2f".format(said.seconds),
        )
        said.reason?.let { status.append("\n$it") }
    }

    /** A token's text on a ground that is the redder the less sure of it the device is. */
    private fun marked(token: Event.Token): CharSequence = SpannableStringBuilder(token.piece).apply {
        val doubt = (1 - exp(token.logprob)).coerceIn(0.0, 1.0)
        val ground = BackgroundColorSpan(Color.argb((doubt * 160).toInt(), 220, 60, 40))
        setSpan(ground, 0, length, Spanned.SPAN_EXCLUSIVE_EXCLUSIVE)
    }

    private fun screen(): View {
        val column = LinearLayout(this).apply { orientation = LinearLayout.VERTICAL }
        fun <T : View> add(view: T) = view.also(column::addView)
        question = add(EditText(this).apply { setHint(R.string.question); imeOptions = EditorInfo.IME_ACTION_GO; isSingleLine = true })
        server = add(EditText(this).apply { setHint(R.string.server); isSingleLine = true })
        add(Button(this).apply { setText(R.string.ask); setOnClickListener { ask() } })
        add(Button(this).apply { setText(R.string.stop); setOnClickListener { turn.incrementAndGet(); status.setText(R.string.cancelled) } })
        draft = add(TextView(this))
        answer = add(TextView(this).apply { textSize = 20f; setTextIsSelectable(true) })
        status = add(TextView(this).apply { accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE })
        question.setOnEditorActionListener { _, _, _ -> ask(); true }
        return ScrollView(this).apply { fitsSystemWindows = true; addView(column) }
    }
}
