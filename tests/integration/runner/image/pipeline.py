# mypy: ignore-errors
# A user's module, found in the working directory of their image; DataJoint is untyped, and so is it.
import multiprocessing
import os
import sys
import time

import datajoint as dj

schema = dj.Schema(os.environ["POPULATE_SCHEMA"], context=globals())


@schema
class Recording(dj.Manual):
    definition = """
    animal : uuid
    day : date
    started : datetime(3)
    depth : decimal(8,3)
    probe : varchar(40)
    side : enum('left', 'right')
    run : int16
    ---
    volts : float64
    """


@schema
class Spikes(dj.Computed):
    definition = """
    -> Recording
    ---
    double_volts : float64
    """

    def make(self, key):
        self.insert1({**key, "double_volts": 2 * (Recording & key).fetch1("volts")})


@schema
class Trial(dj.Manual):
    definition = "trial : varchar(20)"


class PerTrial(dj.Computed):
    definition = """
    -> Trial
    ---
    result = '' : varchar(255)
    """

    def make(self, key):
        self.insert1(key)


@schema
class Tripartite(PerTrial):
    make = dj.Computed.make

    def make_fetch(self, key):
        return ((Trial & key).fetch1("trial"),)

    def make_compute(self, key, trial):
        return (1 / len(trial.replace("zero", "")),)

    def make_insert(self, key, inverse):
        self.insert1({**key, "result": inverse})


@schema
class Pooling(PerTrial):
    def make(self, key):
        with multiprocessing.get_context("fork").Pool(2) as workers:
            self.insert1({**key, "result": sum(workers.map(abs, [-1, -2, -3]))})
            workers.apply_async(time.sleep, (600,))  # the pool ends this worker by SIGTERM


class Rig:
    Inner = Pooling


@schema
class Failing(PerTrial):
    def make(self, key):
        self.insert1(key)
        raise ValueError(f"bad voltage in {key['trial']}: 3 µV, 電圧")


@schema
class Deep(PerTrial):
    def make(self, key):
        descend(60)


def descend(level):
    """Divide by zero, many calls below; two functions in turns, as a traceback folds repeated lines."""
    return descend_further(level - 1)


def descend_further(level):
    return descend(level) if level > 0 else 1 / 0


@schema
class Leaving(PerTrial):
    def make(self, key):
        sys.exit(0)


@schema
class Waiting(PerTrial):
    def make(self, key):
        self.insert1(key)
        print("started", flush=True)
        time.sleep(600)


@schema
class Querying(PerTrial):
    def make(self, key):
        self.insert1(key)
        print("started", flush=True)
        self.connection.query(f"SELECT * FROM {Trial.full_table_name} WHERE trial = 'gem' FOR UPDATE")


@schema
class Choosy(PerTrial):
    key_source = Trial & "trial LIKE '%a%'"


@schema
class Wordy(PerTrial):
    @property
    def key_source(self):
        return Trial & [f"trial = 'number {number}'" for number in range(300)] + ["trial = 'alpha'"]


class Homeless(PerTrial):
    pass
