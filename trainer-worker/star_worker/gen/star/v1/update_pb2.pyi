from star_worker.gen.star.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LossMask(_message.Message):
    __slots__ = ("rollout_id", "advantage", "allocation_maps", "scales", "step_indexes")
    ROLLOUT_ID_FIELD_NUMBER: _ClassVar[int]
    ADVANTAGE_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_MAPS_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    STEP_INDEXES_FIELD_NUMBER: _ClassVar[int]
    rollout_id: str
    advantage: float
    allocation_maps: _tensor_pb2.Tensor
    scales: _containers.RepeatedScalarFieldContainer[float]
    step_indexes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, rollout_id: _Optional[str] = ..., advantage: _Optional[float] = ..., allocation_maps: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., scales: _Optional[_Iterable[float]] = ..., step_indexes: _Optional[_Iterable[int]] = ...) -> None: ...

class LossMaskChunk(_message.Message):
    __slots__ = ("masks",)
    MASKS_FIELD_NUMBER: _ClassVar[int]
    masks: _containers.RepeatedCompositeFieldContainer[LossMask]
    def __init__(self, masks: _Optional[_Iterable[_Union[LossMask, _Mapping]]] = ...) -> None: ...

class UpdateMetrics(_message.Message):
    __slots__ = ("values", "seconds")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class SecondsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    values: _containers.ScalarMap[str, float]
    seconds: _containers.ScalarMap[str, float]
    def __init__(self, values: _Optional[_Mapping[str, float]] = ..., seconds: _Optional[_Mapping[str, float]] = ...) -> None: ...
