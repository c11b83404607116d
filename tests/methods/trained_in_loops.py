"""Adam as PyTorch documents it, with numerical gradients."""

import numpy as np
from small_tasks import numerical_gradient


class NaiveAdam:
    """Takes the gradient of any loss of one array by central differences."""

    def __init__(self, rate, steps, epsilon=1e-8, weight_decay=0.0):
        self.rate, self.steps = rate, steps
        self.epsilon, self.weight_decay = epsilon, weight_decay
        self.first = self.second = 0.0
        self.done = 0

    def step(self, parameters, loss):
        gradient = numerical_gradient(loss, parameters)
        rate = self.rate * 0.5 * (1 + np.cos(np.pi * self.done / self.steps))
        self.done += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        first = self.first / (1 - 0.9**self.done)
        second = self.second / (1 - 0.999**self.done)
        decayed = parameters * (1 - rate * self.weight_decay)
        return decayed - rate * first / (np.sqrt(second) + self.epsilon)
