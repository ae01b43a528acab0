# Every public name of the training loop, once; see `deformconv/__init__.pyi`.

from .devices import PeerLost as PeerLost
from .devices import spread as spread
from .fine_tuning import count_trained as count_trained
from .fine_tuning import train_only_batchnorm as train_only_batchnorm
from .fine_tuning import train_only_offsets as train_only_offsets
from .fine_tuning import transplant as transplant
from .health import Diverged as Diverged
from .image_folder import ImageFolder as ImageFolder
from .loop import accuracy as accuracy
from .loop import fit as fit
from .own_data import OwnData as OwnData
from .own_data import load_images as load_images
from .progress import Terminated as Terminated
from .scaling import Scaling as Scaling
