import numpy as np
import pytest
from pictures import NAMES, make_images
from refusals import refusal

from keras_cmm import InputError
from keras_cmm.models.class_order import check_class_order, warn_of_numbers

torch = pytest.importorskip("torch")
data = torch.utils.data

OURS = ["red fox", "green tea", "blue jay"]


class Folder(data.Dataset):
    """The attributes of torchvision's `ImageFolder`, which sorts its classes."""

    def __init__(self, classes=("blue jay", "green tea", "red fox"), target_transform=None):
        self.classes = list(classes)
        self.class_to_idx = {name: label for label, name in enumerate(classes)}
        self.target_transform = target_transform
        self.pairs = list(zip(*make_images(), strict=True))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, row):
        image, label = self.pairs[row]
        return torch.from_numpy(image[:40]).permute(2, 0, 1) / 255, int(label)


def hugging_face():
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features({"label": datasets.ClassLabel(names=sorted(OURS))})
    return datasets.Dataset.from_dict({"label": [0, 1]}, features=kinds)


class Named:
    def __init__(self, **attributes):
        vars(self).update(attributes)


@pytest.mark.parametrize(
    "make",
    [
        Folder,
        lambda: data.DataLoader(Folder()),
        lambda: data.DataLoader(data.Subset(data.Subset(Folder(), [0, 1]), [0])),
        lambda: data.DataLoader(data.random_split(Folder(), [8, 4])[1]),
        lambda: data.ConcatDataset([Folder(OURS), Folder()]),
        lambda: data.DataLoader(hugging_face()),
        hugging_face,
        lambda: Named(class_indices={name: i for i, name in enumerate(sorted(OURS))}),
        lambda: Named(classes=np.array(sorted(OURS))),
        # As folders are called, and with a class that is not ours.
        lambda: Named(class_names=["Blue_Jay", "green-tea", "RED_FOX"]),
        lambda: Named(classes=["emu", "red fox"]),
    ],
)
def test_another_order_is_refused_wherever_it_is_named(make):
    message = refusal(check_class_order, make(), OURS)
    assert "in another order, or without some of them" in message
    assert "of the classifier" in message


@pytest.mark.parametrize(
    ("make", "is_named"),
    [
        (lambda: data.DataLoader(Folder(OURS)), True),
        (lambda: Folder(OURS[:2]), True),
        (lambda: Named(classes=["n01", "n02", "n03"]), True),
        (lambda: Folder(target_transform=lambda label: 2 - label), False),
        # Labels that someone maps are theirs.
        (lambda: type("Mapped", (data.Subset,), {})(Folder(), [0]), False),
        (lambda: Named(dataset=Folder()), False),
        # What an attribute of the same name may hold.
        (lambda: Named(classes=[("tench", "Tinca tinca"), ("goldfish",)]), False),
        (lambda: Named(classes=3, class_to_idx=None, features=["a"], class_names=[]), False),
        (lambda: Named(class_to_idx={"a": "b"}), False),
        (lambda: [1, 2], False),
    ],
)
def test_what_is_not_refused(make, is_named):
    assert check_class_order(make(), OURS) is is_named


def test_the_classifier_refuses_a_loader(model):
    loader = data.DataLoader(Folder(NAMES[::-1]), batch_size=4)
    for use in (model.fit, model.evaluate):
        with pytest.raises(InputError, match="'cat' is class 0 there, and class 2 of the"):
            use(loader)
    right = data.DataLoader(Folder(NAMES), batch_size=4)
    with pytest.raises(InputError, match="in another order"):
        model.fit(right, validation_data=loader)
    model.fit(right, epochs=1, verbose=0)


NUMBERS = ["0", "1", "10", "2"]


@pytest.mark.parametrize("labels", [[0, 1, 2], np.array([0, 2]), None])
def test_ids_of_classes_that_are_called_by_numbers(labels):
    with pytest.warns(UserWarning, match="2 is the class '10'. Give names as texts, or sort"):
        warn_of_numbers(labels, NUMBERS)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["10", "2"], NUMBERS),
        (np.eye(4), NUMBERS),
        ([0, 1], ["0", "1", "2"]),
        ([0, 1], ["0", "1", "cat"]),
        ([[1], [2, 3]], NUMBERS),
    ],
)
def test_labels_that_leave_no_doubt(labels, names):
    warn_of_numbers(labels, names)


def test_the_classifier_warns_of_numbers(tiny_preset):
    from keras_cmm import CMMImageClassifier

    model = CMMImageClassifier.from_preset(tiny_preset, ["0", "10", "2"])
    images, labels = make_images()
    with pytest.warns(UserWarning, match="1 is the class '10'"):
        model.evaluate(images, labels, verbose=0)
    rows = model.embed(images)
    with pytest.warns(UserWarning, match="1 is the class '10'"):
        model.fit_embeddings(rows, labels, epochs=1, verbose=0)
    model.fit_embeddings(rows, [model.class_names[label] for label in labels], epochs=1, verbose=0)
