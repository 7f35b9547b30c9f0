"""How processes find each other again after a restart, with a store that remembers the processes before."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from torch.distributed import DistNetworkError, HashStore, PrefixStore, Store, TCPStore

from distill.distributed.rendezvous import agree_on_rendezvous_id, is_lost_process
from distill.errors import DistillError

SOON = timedelta(seconds=30)


def meet(store: Store, world: int, late: int = 0) -> set[str]:
    with ThreadPoolExecutor(world) as pool:
        order = [*range(late, world), *range(late)]
        return {future.result() for future in [pool.submit(agree_on_rendezvous_id, store, rank, world, timeout=SOON) for rank in order]}


@pytest.mark.parametrize("world", [1, 2, 5])
def test_all_agree_on_a_name_that_no_earlier_start_had(world: int) -> None:
    store = HashStore()

    names = [meet(store, world, late) for late in (0, min(1, world - 1), world - 1)]

    assert [len(found) for found in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3


def test_questions_of_killed_processes_hold_nobody_up() -> None:
    store = HashStore()
    with pytest.raises(
        DistillError, match=r"must all start within 0:00:00\.200000, got no answer from the first of them; look for the first error"
    ):
        agree_on_rendezvous_id(store, 1, 3, timeout=timedelta(seconds=0.2))  # asked, and was killed
    with pytest.raises(DistillError, match="got 1 of 3"):
        agree_on_rendezvous_id(store, 0, 3, timeout=timedelta(seconds=0.2))  # answered the dead one, and was killed

    (name,) = meet(store, 3)

    assert store.add(f"{name}/here", 0) == 2


def test_what_a_killed_process_has_left_is_not_read_again() -> None:
    port = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # torchrun's, alive over all restarts
    stores = [TCPStore("127.0.0.1", port.port, is_master=False) for _ in range(2)]
    barrier = Barrier(2)

    def start(rank: int, address: str) -> str:
        own = PrefixStore(agree_on_rendezvous_id(stores[rank], rank, 2, timeout=SOON), stores[rank])
        if rank == 0:
            time.sleep(0.3)  # the other one looks first
            own.set("address", address)
        found = own.get("address").decode()
        barrier.wait(30)
        return found

    with ThreadPoolExecutor(2) as pool:
        for address in ("old", "new"):
            assert list(pool.map(start, (0, 1), (address, address))) == [address, address]


def test_an_error_of_the_network_is_told_from_a_fault() -> None:
    assert is_lost_process(DistNetworkError("The client socket has failed to connect"))
    assert is_lost_process(RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:3"))
    assert not is_lost_process(RuntimeError("no such file: /data/igloo"))
    assert not is_lost_process(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
