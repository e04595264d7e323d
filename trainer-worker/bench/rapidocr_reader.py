"""The reference of the OCR benchmark: reads pictures with the Python package rapidocr and reports seconds and texts.

Started by server-ts/bench/ocr-reading.ts with a JSON array: detector, recogniser, dictionary, pictures. Prints `{}`
when warm, then reads all pictures once for every line on standard input. Same weights, same sizes, one thread and no
angle classifier, as the scorer has them; everything else is as the package does it.
"""

import json
import sys
from time import perf_counter

from rapidocr import ModelType, OCRVersion, RapidOCR


def main(detector: str, recognizer: str, dictionary: str, *pictures: str) -> None:
    """Serves rounds until the input ends."""
    reader = RapidOCR(
        params={
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Global.log_level": "error",
            "Global.use_cls": False,
            "Det.ocr_version": OCRVersion.PPOCRV4,
            "Det.model_type": ModelType.MOBILE,
            "Det.model_path": detector,
            "Det.limit_type": "max",
            "Det.limit_side_len": 960,
            "Rec.ocr_version": OCRVersion.PPOCRV4,
            "Rec.model_type": ModelType.MOBILE,
            "Rec.model_path": recognizer,
            "Rec.rec_keys_path": dictionary,
        }
    )
    read(reader, pictures)
    print("{}", flush=True)
    for _ in sys.stdin:
        start = perf_counter()
        texts = read(reader, pictures)
        print(json.dumps({"seconds": perf_counter() - start, "texts": texts}), flush=True)


def read(reader: RapidOCR, pictures: tuple[str, ...]) -> list[str]:
    """Text of every picture, lines joined."""
    return ["".join(reader(path).txts or ()) for path in pictures]


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
