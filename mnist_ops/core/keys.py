"""Names of all params, metrics, tags and artifacts of runs.

Readers and writers of the tracking store share these constants; no other module has the literals.
"""

# Params: what was asked for.
DATASET = "dataset"
MODEL = "model"
BATCH_SIZE = "batch_size"
OPTIMIZER = "optimizer"
LEARNING_RATE = "learning_rate"
MOMENTUM = "momentum"
EPOCHS = "epochs"
PIN_MEMORY = "pin_memory"
AMP = "amp"
PRECISION = "precision"
SEED = "seed"
DEVICE = "device"
KERNEL = "kernel"
C = "C"
GAMMA = "gamma"
DEGREE = "degree"
WEIGHT_DECAY = "weight_decay"
LABEL_SMOOTHING = "label_smoothing"
SCHEDULE = "schedule"
AUGMENTATION = "augmentation"
# Where the test images come from; whether the network is torchvision's own, not rewritten.
DATA_PARTS = "parts"
PLAIN = "plain"
N_TRAIN = "n_train"
N_VAL = "n_val"
N_TEST = "n_test"

# Metrics: what was measured.
TEST_ACCURACY = "test_accuracy"
TEST_F1 = "test_f1"
TEST_F1_MACRO = "test_f1_macro"
VAL_ACCURACY = "val_accuracy"
TRAIN_LOSS = "train_loss"
# Of a network: seconds of training. Of an SVM: seconds that its fit would take alone, which are
# standardisation, inner products and its own solution.
TRAIN_TIME_S = "train_time_s"
# Seconds that the fit took in its grid, without the parts that it shared with earlier cells.
SHARED_TRAIN_TIME_S = "shared_train_time_s"
PREDICT_TIME_S = "predict_time_s"
IMAGES_PER_SECOND = "images_per_second"
FLOPS = "flops"
FLOPS_FVCORE = "flops_fvcore"
PARAMETERS = "parameters"
LIVE_PARAMETERS = "live_parameters"
SUPPORT_VECTORS = "support_vectors"
# Number of nonzero ones in the classifiers of all pairs of classes.
DUAL_COEFFICIENTS = "dual_coefficients"

# Tags: what the run belongs to, and where it ran.
STUDY = "mnist_ops.study"
FINGERPRINT = "mnist_ops.fingerprint"
PRESET = "mnist_ops.preset"
ROLE = "mnist_ops.role"
SPEC = "mnist_ops.spec"
ERROR = "mnist_ops.error"
NOT_MEASURED = "mnist_ops.not_measured"
FIT_GROUP = "mnist_ops.trajectory"
TIME = "mnist_ops.time"
# Number of segments of a fit: more than 1 if it was interrupted and resumed.
SEGMENTS = "mnist_ops.parts"
# The process that owns the run, and the journal that it is uploaded from.
OWNER = "mnist_ops.owner"
JOURNAL = "mnist_ops.journal"
HARDWARE = "mnist_ops.hardware"
VERSION = "mnist_ops.version"
GIT_COMMIT = "mnist_ops.git_commit"
# The vector instructions that torch computed with, of a run on a CPU.
INSTRUCTION_SET = "mnist_ops.instruction_set"
# The claims whose sequential plan asked for the run, as JSON: claim -> [plan, round,
# rounds].
UNTIL_DECIDED = "mnist_ops.until_decided"
# Digest of the record that the run was imported from.
IMPORTED = "mnist_ops.imported"

# Tags that describe the store rather than the run; exports leave them out.
OF_THE_STORE = frozenset({IMPORTED, JOURNAL, NOT_MEASURED, OWNER})

# Tags of a registered model's version, beside fingerprint and spec.
FAMILY = "mnist_ops.family"
REFIT_OF = "mnist_ops.refit_of"
DATASET_DIGEST = "mnist_ops.dataset_digest"
METRIC = "mnist_ops.metric"

# Of a grid: the number of its cells, and of those that were finished before it began.
CELLS = "mnist_ops.cells"
CELLS_BEFORE = "mnist_ops.cells_before"
# Number of cells that failed before and are not tried again; cost of the others, in the units of
# `fit_groups.grouped`.
CELLS_FAILED_BEFORE = "mnist_ops.cells_failed_before"
COST = "mnist_ops.cost"

# Values of the role tag.
ROLE_CELL = "cell"
ROLE_GRID = "grid"
ROLE_MAIN = "main"
ROLE_CHAMPION = "champion"
ROLE_IMPORT = "import"

# Values of the time tag. Measured: the run had a fit of its own and the device to itself. Shared:
# other fits ran on the same CUDA device. Attributed: the times are those of another run's fit.
TIME_MEASURED = "measured"
TIME_SHARED = "shared"
TIME_ATTRIBUTED = "attributed"

# Artifacts.
PREDICTIONS = "test_predictions.npz"
CONFUSION = "confusion.svg"
ERROR_TRACEBACK = "traceback.txt"
