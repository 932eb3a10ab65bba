"""The function on TensorFlow and Keras, which trained the model."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import tensorflow as tf
from rival import MODEL, THREADS, make_handler

tf.config.threading.set_intra_op_parallelism_threads(THREADS)
model = keras.models.load_model(MODEL, compile=False)
infer = model.predict_on_batch
lambda_handler = make_handler(infer)
