"""Prove that scikit-learn answers: a forest learns which of two numbers is larger."""

from random import Random

from sklearn.ensemble import RandomForestClassifier

random = Random(0)
X = [[random.random(), random.random()] for _ in range(500)]
forest = RandomForestClassifier(random_state=0).fit(X, [first > second for first, second in X])
answers = forest.predict([[0.9, 0.1], [0.1, 0.9]]).tolist()
print(answers)
assert answers == [True, False]
