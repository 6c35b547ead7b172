"""Fitting of specs: `resnet.train.fit` trains a network, `svm.fit_all` fits classifiers."""
