"""Other places that a model file can live in, each made from one ONNX file by one command."""
