"""The residual networks of the CIFAR examples in PyTorch, with the published names, to load exported weights into."""

from torch import nn
from torch.nn import functional as F


class PaddedShortcut(nn.Module):
    """Every second pixel, and zeros for the new channels on both sides; nothing to train."""

    def __init__(self, stride, added):
        super().__init__()
        self.stride, self.added = stride, added

    def forward(self, x):
        before = self.added // 2
        return F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, before, self.added - before))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, padded):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        elif padded:
            self.shortcut = PaddedShortcut(stride, outputs - inputs)
        else:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, widths, blocks, padded, channels, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stages, inputs = len(widths), widths[0]
        for stage, outputs in enumerate(widths, 1):
            strides = [1 if stage == 1 else 2] + [1] * (blocks - 1)
            layers = nn.Sequential()
            for stride in strides:
                layers.append(Block(inputs, outputs, stride, padded))
                inputs = outputs
            setattr(self, f"layer{stage}", layers)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


def resnet20(channels=3, classes=10):
    return ResNet((16, 32, 64), 3, True, channels, classes)


def resnet18(channels=3, classes=10):
    return ResNet((64, 128, 256, 512), 2, False, channels, classes)
