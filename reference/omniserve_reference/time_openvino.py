"""Times one whole reply, text and speech, in OpenVINO GenAI's OmniPipeline; prints JSON. For the pipeline benchmark.

Run: python -m omniserve_reference.time_openvino FOLDER --text-tokens 48 --frames 100 [--threads 2] [--no-stream]

FOLDER comes from `optimum-cli export openvino`. Text goes on past its end token; speech is greedy, and ends at its end
code or after `--frames`. The fields are those of time_generate.
"""

import json
import time

import openvino_genai

from .timing import FirstToken, peak_bytes, reply_parser


class Streamer(openvino_genai.StreamerBase):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = FirstToken()

    def write(self, token) -> openvino_genai.StreamingStatus:
        self.tokens.put(token)
        return openvino_genai.StreamingStatus.RUNNING

    def end(self) -> None:
        pass


def main() -> None:
    parser = reply_parser("folder")
    parser.add_argument("--no-stream", action="store_true")
    options = parser.parse_args()
    pipeline = openvino_genai.OmniPipeline(options.folder, "CPU", INFERENCE_NUM_THREADS=options.threads)
    text = openvino_genai.GenerationConfig()
    text.max_new_tokens, text.ignore_eos, text.do_sample = options.text_tokens, True, False
    speech = openvino_genai.OmniTalkerSpeechConfig(options.folder)
    speech.speaker, speech.max_new_tokens, speech.audio_chunk_frames = "ethan", options.frames, 4
    speech.talker_top_k, speech.talker_repetition_penalty, speech.cp_top_k, speech.rng_seed = 1, 1.0, 1, 1
    results = []
    for _ in range(2):  # the second run is warmed up
        history = openvino_genai.ChatHistory()
        history.append({"role": "user", "content": options.prompt})
        streamer, first_audio = Streamer(), 0.0

        def on_audio(_) -> openvino_genai.StreamingStatus:
            nonlocal first_audio
            first_audio = first_audio or time.perf_counter()
            return openvino_genai.StreamingStatus.RUNNING

        listener = {} if options.no_stream else {"speech_streamer": on_audio}
        start, cpu = time.perf_counter(), time.process_time()
        result = pipeline.generate(
            history, text_config=text, talker_speech_config=speech, streamer=streamer, **listener
        )
        total = time.perf_counter() - start
        waves = result.speech_result.waveforms
        results.append(dict(
            textTokens=streamer.tokens.count, samples=waves[0].get_size() if waves else 0,
            secondsToFirstToken=streamer.tokens.at - start, secondsToFirstAudio=(first_audio or start + total) - start,
            secondsTotal=total, cpuSeconds=time.process_time() - cpu,
            peakBytes=peak_bytes(),
        ))  # fmt: skip
    print(json.dumps(results[-1]))


if __name__ == "__main__":
    main()
