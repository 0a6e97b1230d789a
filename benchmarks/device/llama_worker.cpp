// Greedy decoding with llama.cpp, timed; answers one request a line and knows no other peer.
//
// Usage: llama_worker MODEL.gguf THREADS
// Request:  MODE NEW ID ID ...     (MODE: scored | plain)
// Answer:   one JSON line, see benchmarks/device/wire.py
// Request:  forced FILE ID ID ...  (no blank in FILE)
// Answer:   {"positions": N}; FILE holds the logits after each id, float32, N x V
//
// scored: after every pass all logits are read; the token is their maximum, its log-probability
//         maximum - logsumexp. Compiled with -O3 -march=native -ffast-math, so that the compiler
//         vectorizes the exponentials: the score must not cost this peer more than it has to.
// plain:  what llama-bench times: nothing is read, the next token is given.

#include "ggml-backend.h"
#include "llama.h"

#include <sys/resource.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr int WINDOW = 2048;
constexpr int BATCH = 512;  // llama.cpp's own default for the physical batch

double now() {
    using clock = std::chrono::steady_clock;
    return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
    rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec +
           1e-6 * (used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

// Not ru_maxrss: a process inherits that from the one that started it.
long peak_rss() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.rfind("VmHWM:", 0) == 0) {
            return 1024L * std::stol(line.substr(6));
        }
    }
    return 0;
}

struct Choice {
    llama_token token;
    float logprob;
};

Choice greedy(const float * logits, int n) {
    // Two passes that vectorize, then a search for the place: faster than one with a branch.
    float best = logits[0];
    for (int i = 1; i < n; i++) {
        best = std::fmax(best, logits[i]);
    }
    float sum = 0.0f;
    for (int i = 0; i < n; i++) {
        sum += std::exp(logits[i] - best);
    }
    int at = 0;
    while (logits[at] != best) {
        at++;
    }
    return {at, -std::log(sum)};
}

class Decoder {
  public:
    Decoder(const std::string & path, int threads) {
        llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
        ggml_backend_load_all();  // the CPU backend that lies beside this program
        llama_backend_init();
        llama_model_params model_params = llama_model_default_params();
        model_params.n_gpu_layers = 0;
        model_ = llama_model_load_from_file(path.c_str(), model_params);
        if (model_ == nullptr) {
            throw std::runtime_error(path + ": cannot be loaded");
        }
        llama_context_params params = llama_context_default_params();
        params.n_ctx = WINDOW;
        params.n_batch = WINDOW;
        params.n_ubatch = BATCH;
        params.n_threads = threads;
        params.n_threads_batch = threads;
        context_ = llama_init_from_model(model_, params);
        if (context_ == nullptr) {
            throw std::runtime_error("no context");
        }
        vocabulary_ = llama_vocab_n_tokens(llama_model_get_vocab(model_));
    }

    void clear() { llama_memory_clear(llama_get_memory(context_), false); }

    void pass(std::vector<llama_token> & tokens) {
        // Logits of the last position only, as llama_batch_get_one asks for.
        if (llama_decode(context_, llama_batch_get_one(tokens.data(), tokens.size())) != 0) {
            throw std::runtime_error("llama_decode failed");
        }
        llama_synchronize(context_);
    }

    const float * logits() { return llama_get_logits_ith(context_, -1); }

    int vocabulary() const { return vocabulary_; }

    Choice choose() { return greedy(logits(), vocabulary_); }

  private:
    llama_model * model_;
    llama_context * context_;
    int vocabulary_;
};

std::vector<llama_token> ids_of(std::istream & request) {
    std::vector<llama_token> found;
    for (llama_token id; request >> id;) {
        found.push_back(id);
    }
    return found;
}

// Token by token, as a response is decoded: a prompt's pass may use other kernels.
void write_logits(Decoder & decoder, std::istream & request) {
    std::string path;
    request >> path;
    std::ofstream out(path, std::ios::binary);
    const std::vector<llama_token> ids = ids_of(request);
    decoder.clear();
    for (llama_token id : ids) {
        std::vector<llama_token> next(1, id);
        decoder.pass(next);
        const auto * bytes = reinterpret_cast<const char *>(decoder.logits());
        out.write(bytes, static_cast<std::streamsize>(sizeof(float)) * decoder.vocabulary());
    }
    if (!out.flush()) {
        throw std::runtime_error(path + ": cannot be written");
    }
    std::printf("{\"positions\": %zu}\n", ids.size());
    std::fflush(stdout);
}

void answer(Decoder & decoder, const std::string & line) {
    std::istringstream request(line);
    std::string mode;
    int new_tokens;
    request >> mode;
    if (mode == "forced") {
        write_logits(decoder, request);
        return;
    }
    request >> new_tokens;
    std::vector<llama_token> prompt = ids_of(request);
    const bool scored = mode == "scored";
    decoder.clear();
    std::vector<llama_token> next(1);
    double nll = 0.0;

    const double cpu_start = cpu_seconds();
    const double start = now();
    decoder.pass(prompt);
    Choice choice = scored ? decoder.choose() : Choice{prompt[0], 0.0f};
    const double first = now();
    const double cpu_first = cpu_seconds();
    int tokens = 1;
    for (; tokens < new_tokens; tokens++) {
        nll -= choice.logprob;
        next[0] = scored ? choice.token : prompt[tokens % prompt.size()];
        decoder.pass(next);
        if (scored) {
            choice = decoder.choose();
        }
    }
    const double end = now();
    const double cpu_end = cpu_seconds();
    nll -= choice.logprob;

    std::printf(
        "{\"prefill_s\": %.6f, \"decode_s\": %.6f, \"prefill_cpu_s\": %.6f, \"decode_cpu_s\": %.6f,"
        " \"tokens\": %d, \"nll\": %.6f, \"peak_rss\": %ld}\n",
        first - start, end - first, cpu_first - cpu_start, cpu_end - cpu_first, tokens,
        nll / tokens, peak_rss());
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char ** argv) {
    if (argc != 3) {
        std::cerr << "usage: llama_worker MODEL.gguf THREADS\n";
        return 2;
    }
    try {
        Decoder decoder(argv[1], std::stoi(argv[2]));
        std::printf("{\"ready\": true}\n");
        std::fflush(stdout);
        for (std::string line; std::getline(std::cin, line);) {
            answer(decoder, line);
        }
    } catch (const std::exception & error) {
        std::cerr << "llama_worker: " << error.what() << "\n";
        return 1;
    }
}
