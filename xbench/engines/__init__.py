"""Models outside torch: exported to ONNX, held against torch, quantized, and run by the engines people deploy on.

Threads are as many as are asked for; how they wait is as the library ships it. Nothing of an engine is imported before
its mode is asked for.
"""
