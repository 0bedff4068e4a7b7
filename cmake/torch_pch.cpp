// Source of the target torch_pch, which exists for its precompiled header.
